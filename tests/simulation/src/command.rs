//! Runs one seed here, or many in processes of their own, and adds up what came of them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use simulation::bugs;
use simulation::world::{self, Report};

/// Runs simulations of raft-store.
#[derive(Debug, Parser)]
pub struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs this seed only, in this process
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Prints what happens; with --seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Milliseconds of simulated time with faults, for each seed
    #[arg(long, default_value_t = 20_000)]
    millis: u64,
    /// Plants this bug into raft-store, or with `all` each in turn, and ends well when it is found; needs the feature
    /// planted-bugs
    #[arg(long)]
    bug: Option<String>,
    /// Processes at a time; by default as many as there are processors
    #[arg(long)]
    jobs: Option<usize>,
}

/// A millisecond of simulated time that takes so long never ends.
const STANDSTILL: Duration = Duration::from_secs(30);

/// What was read of a run in another process.
#[derive(Debug, Default)]
struct Outcome {
    seed: u64,
    counts: BTreeMap<String, u64>,
    violation: Option<String>,
    millis: u64,
}

impl Args {
    /// Answers whether nothing was found.
    pub fn run(&self) -> anyhow::Result<bool> {
        if let Some(seed) = self.seed {
            self.bug.as_deref().map_or(Ok(()), bugs::plant)?;
            let clock = Arc::new(AtomicU64::new(0));
            let (alive, ended) = mpsc::channel::<()>();
            let watched = Arc::clone(&clock);
            std::thread::spawn(move || watch(&watched, &ended));
            let report = world::run(seed, self.millis, self.trace, clock);
            drop(alive);
            print!("{}", lines(&report));
            return Ok(report.violation.is_none());
        }
        if let Some(bug) = &self.bug {
            return self.hunt(bug);
        }
        let begun = Instant::now();
        let all = self.all(None)?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (name, count) in all.iter().flat_map(|outcome| &outcome.counts) {
            *counts.entry(name.clone()).or_default() += count;
        }
        for (name, count) in counts {
            println!("{count:>12}  {name}");
        }
        let bad: Vec<&Outcome> = all.iter().filter(|outcome| outcome.violation.is_some()).collect();
        for outcome in &bad {
            println!("\nseed {} FAILED: {}", outcome.seed, outcome.violation.as_deref().unwrap_or_default());
            println!(
                "again, in words: cargo run -p simulation -- --millis {} --trace --seed {}",
                self.millis, outcome.seed
            );
        }
        let hours = all.iter().map(|outcome| outcome.millis).sum::<u64>() as f64 / 3_600_000.0;
        println!(
            "\n{} seeds, {hours:.2} simulated hours in {:.0} s, {} failed",
            all.len(),
            begun.elapsed().as_secs_f64(),
            bad.len()
        );
        Ok(bad.is_empty())
    }

    /// Runs seeds until the bug is found, and says with how many.
    fn hunt(&self, bug: &str) -> anyhow::Result<bool> {
        let names = if bug == "all" { bugs::names() } else { vec![bug.to_owned()] };
        anyhow::ensure!(!names.is_empty(), "no bug can be planted: build with --features planted-bugs");
        let mut found = 0;
        for name in &names {
            let all = self.all(Some(name))?;
            match all.iter().find_map(|outcome| Some((outcome.seed, outcome.violation.as_ref()?))) {
                Some((seed, violation)) => {
                    found += 1;
                    let first = violation.lines().next().unwrap_or_default();
                    println!("{name}: found by seed {seed}, the {}th: {first}", seed - self.from + 1);
                }
                None => println!("{name}: NOT FOUND by {} seeds", all.len()),
            }
        }
        println!("\n{found} of {} planted bugs were found", names.len());
        Ok(found == names.len())
    }

    /// All seeds; with a planted bug, only until one finds it.
    fn all(&self, bug: Option<&str>) -> anyhow::Result<Vec<Outcome>> {
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let (next, all) = (AtomicU64::new(self.from), Mutex::new(Vec::new()));
        let end = self.from + self.seeds;
        let work = || -> anyhow::Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return Ok(());
                }
                let outcome = self.one(seed, bug)?;
                if let Some(violation) = outcome.violation.as_ref().filter(|_| bug.is_none()) {
                    eprintln!("seed {seed}: {}", violation.lines().next().unwrap_or_default());
                }
                if bug.is_some() && outcome.violation.is_some() {
                    next.store(end, Ordering::Relaxed);
                }
                all.lock().map_err(|_| anyhow::anyhow!("a thread has panicked"))?.push(outcome);
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?)
        })?;
        let mut all = all.into_inner().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        all.sort_by_key(|outcome| outcome.seed);
        Ok(all)
    }

    fn one(&self, seed: u64, bug: Option<&str>) -> anyhow::Result<Outcome> {
        let me = std::env::current_exe().context("this program's file")?;
        let mut command = Command::new(me);
        command.arg("--seed").arg(seed.to_string()).arg("--millis").arg(self.millis.to_string());
        command.args(bug.map(|bug| ["--bug", bug]).into_iter().flatten());
        let output = command.stdin(Stdio::null()).output().context("a process for a seed")?;
        let mut outcome = read(&String::from_utf8_lossy(&output.stdout));
        outcome.seed = seed;
        if outcome.millis == 0 {
            outcome.violation = Some(format!(
                "its process ended with {} and said: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(outcome)
    }
}

/// Ends the process when simulated time stands still: something spins, and would for ever.
fn watch(clock: &AtomicU64, ended: &mpsc::Receiver<()>) {
    let mut before = 0;
    while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(STANDSTILL) {
        let now = clock.load(Ordering::Relaxed);
        if now == before {
            println!("millis\t{}\nviolation\tsomething spins: time stands still at {now} ms", now.max(1));
            std::process::abort();
        }
        before = now;
    }
}

/// A report as it goes from a process to the one that began it.
fn lines(report: &Report) -> String {
    let mut text = String::new();
    for (name, count) in report.counts.all() {
        text += &format!("count\t{count}\t{name}\n");
    }
    text += &format!("hash\t{:016x}\n", report.hash);
    text += &format!("millis\t{}\n", report.millis);
    if let Some(violation) = &report.violation {
        text += &format!("violation\t{violation}\n");
    }
    text
}

fn read(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut parts = line.splitn(3, '\t');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("count"), Some(count), Some(name)) => {
                outcome.counts.insert(name.to_owned(), count.parse().unwrap_or(0));
            }
            (Some("millis"), Some(millis), None) => outcome.millis = millis.parse().unwrap_or(0),
            (Some("violation"), Some(first), _) => {
                let rest: Vec<&str> = std::iter::once(first).chain(lines.by_ref()).collect();
                outcome.violation = Some(rest.join("\n"));
            }
            _ => {}
        }
    }
    outcome
}
