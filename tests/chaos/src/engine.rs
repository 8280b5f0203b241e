//! A Docker engine of a test's own, which can be stopped and started without harm to anyone else on the machine. It has its
//! own data, sockets, containerd and network namespace: nothing of the machine's is touched, and containers reach nobody.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::cluster::IMAGE;
use crate::containers::Docker;
use crate::until;

/// One that runs, or was stopped; nothing of it is left once it is dropped.
pub struct Engine {
    dir: tempfile::TempDir,
    /// The second number of its networks, 10.N.0.0/16.
    number: u32,
    process: Option<Child>,
}

impl Engine {
    /// Whether there can be one here.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn can_be() -> Result<(), String> {
        let is_there = Command::new("dockerd").arg("--version").stdout(Stdio::null()).status();
        if rustix::process::geteuid().is_root() && is_there.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err("a Docker engine of its own takes dockerd, and root to run it".to_owned())
    }

    /// Starts one that has the base image.
    ///
    /// # Errors
    /// Why there is none, in words.
    ///
    /// # Panics
    /// When it starts and never answers.
    pub async fn start() -> Result<Self, String> {
        Self::can_be()?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut engine = Self { dir, number: 64 + std::process::id() % 160, process: None };
        engine.resume().await;
        let load = format!("docker save {IMAGE} | docker --host unix://{} load", engine.socket().display());
        let loaded = Command::new("sh").args(["-c", &load]).output().map_err(|error| error.to_string())?;
        if !loaded.status.success() {
            return Err(format!("{load}: {}", String::from_utf8_lossy(&loaded.stderr)));
        }
        Ok(engine)
    }

    /// The way to it.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker { socket: Some(self.socket()) }
    }

    /// Whether it was started and not stopped.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Where its users find it. It is there at all times, and leads nowhere while the engine is away, as where a service
    /// manager holds it: a second name of the engine's own socket, which the engine does not know and so does not remove.
    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    fn own_socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Panics
    /// When it does not, or runs.
    pub async fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let at = |name: &str| self.dir.path().join(name);
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        // In a network of its own: there it may do with bridges what it likes, and cannot take the machine's engine its own.
        let process = Command::new("unshare")
            .args(["--net", "dockerd", "--data-root"])
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg(format!("--host=unix://{}", self.own_socket().display()))
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
            .arg(format!("--default-address-pool=base=10.{}.0.0/16,size=28", self.number))
            .args(["--shutdown-timeout=3", "--live-restore=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let docker = Docker { socket: Some(self.own_socket()) };
        until("the engine answers", async || docker.answers().await.then_some(())).await;
        let new = self.dir.path().join("new.sock");
        fs::hard_link(self.own_socket(), &new).unwrap();
        fs::rename(new, self.socket()).unwrap();
    }

    /// Stops it as a service manager does. Its containers are ended, too.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let _ = rustix::process::kill_process(Pid::from_child(&process), Signal::TERM);
        until("the engine ends", async || process.try_wait().unwrap()).await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = rustix::process::kill_process(Pid::from_child(&process), Signal::TERM);
            let _ = process.wait();
        }
        for mount in mounts_below(self.dir.path()) {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
    }
}

/// What is mounted there, innermost first.
fn mounts_below(dir: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<String> =
        points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect();
    below.reverse();
    below
}
