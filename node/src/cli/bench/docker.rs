//! `docker run --rm IMAGE true`, as a person would: the base line of a job.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

/// How long it took, from the start of the program to its end.
///
/// # Errors
/// Why it did not go well, for people.
pub async fn run(program: &str, image: &str) -> Result<Duration, String> {
    let since = Instant::now();
    let ended = Command::new(program)
        .args(["run", "--rm", image, "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await;
    let latency = since.elapsed();
    match ended {
        Ok(output) if output.status.success() => Ok(latency),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "{}: {}",
                output.status,
                words.lines().next().unwrap_or("no words on its standard error")
            ))
        }
        Err(error) => Err(format!("{program} does not start: {error}")),
    }
}
