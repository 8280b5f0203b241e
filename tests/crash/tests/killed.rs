//! A process is killed in the middle of what it writes, again and again, and what it left is opened: nothing acknowledged is
//! missing, nothing is there that was not written.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crash::model::Model;
use crash::op::{Op, Said};
use crash::seen::{self, Result, Salts};
use raft_store::disk::{LocalDisk, SharedDisk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Kills of a run in CI; `TROUPE_CRASH_KILLS` for more.
const KILLS: u64 = 50;
/// Kills of one directory's life.
const LIVES: u64 = 25;

fn number(variable: &str, otherwise: u64) -> Result<u64> {
    Ok(match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|e| format!("{variable}={text}: {e}"))?,
        Err(_) => otherwise,
    })
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_anywhere() -> Result {
    let (kills, seed) = (number("TROUPE_CRASH_KILLS", KILLS)?, number("TROUPE_CRASH_SEED", rand::random())?);
    println!("TROUPE_CRASH_SEED={seed} TROUPE_CRASH_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut acknowledged, mut begun) = (0, 0);
    for life in 0..kills.div_ceil(LIVES) {
        let dir = tempfile::tempdir()?;
        let (mut model, mut salts) = (Model::default(), Salts::default());
        for kill in life * LIVES..kills.min((life + 1) * LIVES) {
            // Early ones meet the storage while it is opened.
            let operations = rng.random_range(1..if kill % 3 == 0 { 12 } else { 400 });
            let (seed, context) = (rng.random(), format!("kill {kill}, after {operations} operations"));
            be_killed(dir.path(), seed, operations, &mut model, &mut salts)
                .map_err(|e| format!("{context}: {e}"))?;
            let progress = model.progress();
            (acknowledged, begun) = (acknowledged + progress.0, begun + progress.1);
            let disk: SharedDisk = Arc::new(LocalDisk);
            let mut storage = seen::open(&disk, dir.path()).map_err(|e| format!("{context}: {e}"))?;
            seen::check(&mut storage, &mut model, &salts).await.map_err(|e| format!("{context}: {e}"))?;
        }
    }
    println!("{kills} kills, {begun} changes begun, {acknowledged} of them acknowledged");
    assert!(acknowledged > 0, "nothing was acknowledged: the test tests nothing");
    Ok(())
}

/// Lets a child change what is in `dir` until it dies, and hears what it says.
fn be_killed(dir: &Path, seed: u64, operations: i64, model: &mut Model, salts: &mut Salts) -> Result {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crash-child"))
        .args([dir.as_os_str(), seed.to_string().as_ref(), operations.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let said: Said = serde_json::from_str(&line?)?;
        if let Said::Begins(Op::Append { term, first, count, salt }) = said {
            (first..first + count).for_each(|index| salts.add((term, index), salt));
        }
        model.hear(said);
    }
    let status = child.wait()?;
    match status.signal() {
        Some(9) => Ok(()),
        _ => Err(format!("the child was to be killed, but it ended with {status}").into()),
    }
}
