//! `drill`: what dies under load and what that costs, as figures. Exit code 1 when something was lost, doubled or wrong.

use std::process::ExitCode;

use chaos::drill::{Drill, What, run};
use clap::Parser;

/// Kills leaders or nodes under load, again and again, and says what that cost.
#[derive(Debug, Parser)]
struct Args {
    /// What is done.
    what: What,
    /// How often, 1 to 1000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    trials: u64,
    /// Milliseconds of the leader's lease, 1500 to 600000; a node's is two thirds of it.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1500..=600_000))]
    lease_ms: u64,
    /// All figures, as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> std::io::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let drill = runtime.block_on(run(args.what, args.trials as usize, args.lease_ms));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&drill)?);
    } else {
        tell(&drill);
    }
    Ok(if drill.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(drill: &Drill) {
    let Drill { what, lease_ms, trials, jobs, attempts_again, .. } = drill;
    println!("{what:?}: {} times, {jobs} jobs, lease {lease_ms} ms", trials.len());
    println!("builds that ran at those moments: {}", trials.iter().map(|trial| trial.builds).sum::<usize>());
    println!("attempts beyond the first of each job: {attempts_again}");
    spread(
        "ms until the next container that was placed afterwards started",
        trials.iter().filter_map(|t| t.next_start_ms),
    );
    spread("ms until all jobs of the node ran elsewhere", trials.iter().filter_map(|t| t.all_again_ms));
    println!("reports that were refused: {}", drill.refused_reports);
    for (what, found) in [("wrong attempts", &drill.wrong_attempts), ("not succeeded", &drill.not_succeeded)]
    {
        println!("{what}: {}", found.len());
        found.iter().for_each(|found| println!("  {found}"));
    }
    println!("containers of one job at one time: {:?}", drill.overlaps);
}

fn spread(what: &str, values: impl Iterator<Item = u64>) {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    if let (Some(middle), Some(most)) = (values.get(values.len() / 2), values.last()) {
        println!("{what}: p50 {middle}, max {most}");
    }
}
