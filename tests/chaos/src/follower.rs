//! Someone who follows a job's log from their terminal: the real command line, reading from whichever nodes it is given.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::node::Node;
use crate::{binary, until};

/// A `troupe logs --follow` that runs.
pub struct Follower {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinSet<()>,
}

impl Follower {
    /// Follows `job` through these nodes; the next is asked when one cannot be reached.
    ///
    /// # Panics
    /// When the command line cannot be started.
    #[must_use]
    pub fn start(nodes: &[&Node], job: &str) -> Self {
        let urls: Vec<_> = nodes.iter().map(|node| node.url()).collect();
        let mut process = Command::new(binary::troupe())
            .args(["--addr", &urls.join(","), "logs", "--follow", job])
            .env("TROUPE_TOKEN", &nodes[0].token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (mut output, seen) = (BufReader::new(process.stdout.take().unwrap()).lines(), lines.clone());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                seen.lock().unwrap().push(line);
            }
        });
        Self { process, lines, reader }
    }

    /// What was seen so far.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Until this line was seen.
    pub async fn sees(&self, line: &str) {
        until(format!("the follower sees {line:?}"), async || {
            self.lines.lock().unwrap().iter().any(|seen| seen == line).then_some(())
        })
        .await;
    }

    /// Waits for the end of the command: how it ended, and all that it wrote.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = tokio::time::timeout(crate::PATIENCE, self.process.wait()).await;
        let status = status.expect("the follower ends with the job").unwrap();
        self.reader.join_next().await.expect("one reader").unwrap();
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        (status, lines)
    }
}
