//! `project`: a real project on a real cluster, from its push to its commit statuses, while nodes die. Exit code 1 when something
//! is not as it should be.

use std::process::ExitCode;

use chaos::project::{Table, run};
use clap::Parser;

/// Builds lz4, as Debian packages it, on three nodes with Docker, while nodes die, and checks what comes of it. Needs Debian's tools
/// (apt-get, dpkg-source), and troupe/busybox:local and troupe/debian:local (scripts/base-image.sh busybox debian).
#[derive(Debug, Parser)]
struct Args {
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> std::io::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let table = runtime.block_on(run());
    if args.json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        tell(&table);
    }
    Ok(if table.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(table: &Table) {
    println!("| part | what | found | expected | ok |\n|---|---|---|---|---|");
    for row in &table.rows {
        let ok = if row.ok { "yes" } else { "NO" };
        println!("| {} | {} | {} | {} | {ok} |", row.part, row.what, row.found, row.expected);
    }
    println!("\n| figure | value |\n|---|---|");
    table.figures.iter().for_each(|(what, value)| println!("| {what} | {value} |"));
    let wrong = table.rows.iter().filter(|row| !row.ok).count();
    println!("\n{} things were looked at, {wrong} are not as they should be", table.rows.len());
}
