//! One node: its configuration, its process, and a client of its API.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::shim::Shim;
use crate::{binary, until};

/// What the command line said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// The output of a command that went well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }
}

/// A node, running or not.
pub struct Node {
    /// `node-N`, which is a label of it, too.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
    /// An API token of the cluster.
    pub token: String,
    /// What it is started from; the binary of this build, unless it is said otherwise.
    pub binary: Option<PathBuf>,
    /// More of the environment of its process.
    pub environment: Vec<(&'static str, OsString)>,
    /// What is in front of its C library, if that was planned.
    pub shim: Option<Shim>,
    http: reqwest::Client,
    process: Option<Child>,
}

impl Node {
    /// A node that does not run yet; `config` is the whole of its file.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn new(name: &str, dir: PathBuf, address: Ipv4Addr, config: &str) -> Self {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), config).unwrap();
        // A connection that is kept would be one to a process that was killed.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self {
            name: name.to_owned(),
            dir,
            address,
            token: String::new(),
            binary: None,
            environment: Vec::new(),
            shim: None,
            http,
            process: None,
        }
    }

    /// Starts the process; its log goes on where it was.
    ///
    /// # Panics
    /// When it runs, or the binary cannot be started.
    pub fn start(&mut self) {
        self.start_with(None);
    }

    /// Starts the process, which joins a cluster with this token first.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn join(&mut self, token: &str) {
        self.start_with(Some(token));
    }

    fn start_with(&mut self, token: Option<&str>) {
        assert!(self.process.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let process = Command::new(self.binary.clone().unwrap_or_else(binary::troupe))
            .arg("node")
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .envs(token.map(|token| ("TROUPE_JOIN", token)))
            // The end of its log is looked at, which a backtrace would fill.
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.shim.iter().flat_map(Shim::environment))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Kills the process as a machine that loses power does; nothing is told to it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks the process to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or ends otherwise than with 0.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut process = self.process.take().expect("runs");
        let status = process.wait().unwrap();
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.last_words());
    }

    /// How the process ended, if it was started and has; it counts as not running then.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.try_wait().unwrap()?;
        self.process = None;
        Some(status)
    }

    /// Waits until the process ends by itself; its exit code.
    ///
    /// # Panics
    /// When it does not run, or goes on, or was killed.
    pub async fn ended(&mut self) -> i32 {
        let mut process = self.process.take().expect("runs");
        let status = until(format!("{} ends", self.name), async || process.try_wait().unwrap()).await;
        status.code().expect("not killed")
    }

    /// Runs the command line against this node.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Said {
        let output = Command::new(self.binary.clone().unwrap_or_else(binary::troupe))
            .args(args)
            .env("TROUPE_ADDR", self.url())
            .env("TROUPE_TOKEN", &self.token)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let code = output.status.code().expect("not killed");
        Said { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.process.as_ref().expect("runs"));
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its process; none when it does not run.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether the process was started and not ended by the test.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// `http://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:7070", self.address)
    }

    /// Where its metrics are scraped, as Prometheus names a target.
    #[must_use]
    pub fn metrics(&self) -> String {
        format!("{}:7072", self.address)
    }

    /// Its id, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        Some(fs::read_to_string(self.dir.join("data/node-id")).ok()?.trim().to_owned())
    }

    /// A request with the cluster's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url() + path).bearer_auth(&self.token)
    }

    /// What a path shows; none when the node does not answer 200.
    pub async fn try_get(&self, path: &str) -> Option<Value> {
        let answer = self.request(Method::GET, path).send().await.ok()?;
        if answer.status() == StatusCode::OK { answer.json().await.ok() } else { None }
    }

    /// What a path shows, waited for.
    pub async fn get(&self, path: &str) -> Value {
        until(format!("{} answers {path}", self.name), async || self.try_get(path).await).await
    }

    /// The bytes of a path.
    ///
    /// # Panics
    /// When the node does not answer 200.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path} at {}", self.name);
        answer.bytes().await.unwrap().to_vec()
    }

    /// A metric without labels, as it is now; none when the node does not answer or has no such metric.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.http.get(format!("http://{}/metrics", self.metrics())).send().await.ok()?;
        let text = answer.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Where its log is.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    /// Where its data is.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        Path::new(&self.dir).join("data")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
