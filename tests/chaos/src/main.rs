//! `chaos`: long runs, one seed after the other, until the time is over or something does not hold.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chaos::faults::{Class, LONGEST};
use chaos::report::{Conclusion, Report, Round, write_round};
use chaos::round::{Settings, run};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Real nodes, real containers, faults from a seed; says what does not hold. Exit code 0: everything holds. 1: something does
/// not. 3: nothing came of a class of faults, so that nothing is known about it.
#[derive(Debug, Parser)]
struct Args {
    /// Minutes for all of it; the last seed is ended all the same.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The first seed; each further one is one more.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds, at most.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seeds: u64,
    /// Seconds of faults for each seed, 15 to 3600.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(15..=3600))]
    seconds: u64,
    /// Nodes, 3 to 7.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=7))]
    nodes: u64,
    /// People at work, 1 to 100.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    people: u64,
    /// Only these faults; without it, all.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Class>,
    /// Where report, pictures and, of what does not hold, histories and logs go.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
}

fn main() -> std::io::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            conclusion = all(&args) => Ok(ExitCode::from(conclusion? as u8)),
            // What runs is dropped, and so removed.
            () = told_to_end() => Ok(ExitCode::from(130)),
        }
    })
}

async fn told_to_end() {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be heard");
    let mut interrupted = signal(SignalKind::interrupt()).expect("signals can be heard");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
}

async fn all(args: &Args) -> std::io::Result<Conclusion> {
    let classes = if args.faults.is_empty() { Class::ALL.to_vec() } else { args.faults.clone() };
    let mut report = Report::new(&classes);
    let length = Duration::from_secs(args.seconds).max(LONGEST);
    let (began, time) = (Instant::now(), Duration::from_secs(args.minutes * 60));
    for seed in (args.seed..).take(usize::try_from(args.seeds).unwrap_or(usize::MAX)) {
        if began.elapsed() >= time {
            break;
        }
        let out = args.out.join(format!("seed-{seed}"));
        let settings = Settings {
            seed,
            nodes: args.nodes as usize,
            length,
            classes: classes.clone(),
            people: args.people,
            keep: Some(out.clone()),
        };
        let ended = run(&settings).await;
        write_round(&ended, &out)?;
        let round = Round::of(seed, &ended);
        println!("{}", round.line());
        for violation in &round.verdict.violations {
            println!("  {}: {}", violation.invariant.name(), violation.found);
        }
        report.rounds.push(round);
        report.write(&args.out)?;
        if report.conclusion() == Conclusion::Violated {
            println!("to have it again: {}", again(args, seed));
            break;
        }
    }
    println!("{:?}; the report is in {}", report.conclusion(), args.out.display());
    Ok(report.conclusion())
}

/// The command that repeats a seed.
fn again(args: &Args, seed: u64) -> String {
    let mut words = format!(
        "scripts/chaos.sh --seed {seed} --seeds 1 --seconds {} --nodes {} --people {}",
        args.seconds, args.nodes, args.people
    );
    if !args.faults.is_empty() {
        let names: Vec<_> = args.faults.iter().map(|class| class.name()).collect();
        words += &format!(" --faults {}", names.join(","));
    }
    words
}
