//! What stands beside a job's own container: services, and steps that are containers. They are the attempt's as its own container
//! is: same labels, same network, same permit, gone with it. Must not know workflow files.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use domain::{AttemptId, Fence, RepoId, Resources};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::options::{self, ContainerOptions};
use super::{ContainerId, Error, Exit, Lease, Mount};

/// What a container is to its attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The job's own: in it, its steps run.
    Job,
    /// A service, by its name.
    Service(String),
    /// A step, by its place in the log.
    Step(u16),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job => f.write_str("job"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Step(step) => write!(f, "step:{step}"),
        }
    }
}

impl FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            None if text == "job" => Ok(Self::Job),
            Some(("service", name)) => Ok(Self::Service(name.to_owned())),
            Some(("step", step)) => step.parse().map(Self::Step).map_err(drop),
            _ => Err(()),
        }
    }
}

/// What a workflow file may ask for beyond an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Its options.
    pub options: ContainerOptions,
    /// What is kept beyond its end, and what is thrown away with it.
    pub volumes: Vec<Volume>,
}

/// A volume of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Whose, and its name there; none for one that goes with its container.
    pub name: Option<(RepoId, String)>,
    /// Where it appears.
    pub path: String,
    /// It can only be read.
    pub read_only: bool,
}

/// Places in a container that are the node's, or the engine's.
const TAKEN: [&str; 6] = ["/troupe", "/troupe-init", "/troupe-objects", "/proc", "/sys", "/dev"];

impl Volume {
    /// Reads `name:/path`, `name:/path:ro` and `/path`.
    ///
    /// # Errors
    /// [`Error::Refused`]: a directory of the host, a name or place that cannot be, a name where there is no repository.
    pub fn parse(text: &str, repo: Option<RepoId>) -> Result<Self, Error> {
        let refused = |why: &str| {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Error::Refused { action: "mount a volume", why: format!("{shown:?}: {why}") }
        };
        let mut parts = text.split(':');
        let (first, second, mode) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(refused("it has more parts than NAME:/PATH:ro"));
        }
        let read_only = match mode {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(_) => return Err(refused("what stands behind its path is neither ro nor rw")),
        };
        let (name, path) = match second {
            None => (None, first),
            Some(_) if first.contains(['/', '\\', '~']) || first.starts_with('.') => {
                return Err(refused(
                    "directories of the host are not mounted; name a volume, as in data:/var/lib/data",
                ));
            }
            Some(path) => (Some(first), path),
        };
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_some_and(|name| name.is_empty() || name.len() > 100 || !name.bytes().all(fine)) {
            return Err(refused("a volume's name has 1 to 100 letters, digits, '-', '_' and '.'"));
        }
        let plain = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        if !path.starts_with('/') || !plain || path.contains(char::is_control) {
            return Err(refused("its path is not absolute and plain, as in data:/var/lib/data"));
        }
        let below =
            |taken: &&str| path.strip_prefix(*taken).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        if path == "/workspace" || TAKEN.iter().any(below) {
            return Err(refused("nothing can be mounted there"));
        }
        let name = match (name, repo) {
            (None, _) => None,
            (Some(name), Some(repo)) => Some((repo, name.to_owned())),
            (Some(_), None) => {
                return Err(refused(
                    "volumes with names are a repository's, and this job is of none, or for a fork of it",
                ));
            }
        };
        Ok(Self { name, path: path.to_owned(), read_only })
    }
}

/// A port as a workflow file has it: `80`, `8080:80`, `80/udp`. What the host is asked for is not bound: a job finds a service
/// by its name.
///
/// # Errors
/// [`Error::Refused`].
pub fn port(text: &str) -> Result<(u16, &'static str), Error> {
    let refused = || Error::Refused {
        action: "read a port",
        why: format!("{text:?} is not PORT, HOST:PORT or one of them with /tcp or /udp behind it"),
    };
    let (ports, protocol) = match text.split_once('/') {
        None => (text, "tcp"),
        Some((ports, "tcp")) => (ports, "tcp"),
        Some((ports, "udp")) => (ports, "udp"),
        Some(_) => return Err(refused()),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (host, own) = ports.split_once(':').map_or((None, ports), |(host, own)| (Some(host), own));
    match (host.map(number), number(own)) {
        (None | Some(Some(_)), Some(own)) => Ok((own, protocol)),
        _ => Err(refused()),
    }
}

/// A name under which a service can be found.
///
/// # Errors
/// [`Error::Refused`].
pub fn service_name(text: &str) -> Result<String, Error> {
    let why = format!(
        "{text:?} has something other than letters, digits, '-', '_' and '.', or more than 63 of them"
    );
    options::host(text).ok_or(Error::Refused { action: "name a service", why })
}

/// A container beside a job's own.
#[derive(Debug, Clone)]
pub struct BesideSpec {
    /// Whose.
    pub attempt: AttemptId,
    /// Under which fence.
    pub fence: Fence,
    /// What it is.
    pub part: Part,
    /// Image name.
    pub image: String,
    /// The attempt's permit, which it is guarded by.
    pub permit: PathBuf,
    /// Directories and files of the attempt.
    pub mounts: Vec<Mount>,
    /// Where it begins; none for what its options or its image say.
    pub workdir: Option<String>,
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// In place of its image's.
    pub entrypoint: Option<Vec<String>>,
    /// In place of its image's.
    pub command: Option<Vec<String>>,
    /// At most this; its options can ask for less.
    pub resources: Resources,
    /// Processes and threads at one time.
    pub pids: u32,
    /// Slot, which decides the network.
    pub slot: u16,
    /// What it may be given beyond that.
    pub extras: Extras,
    /// Without it, it is not started.
    pub lease: Lease,
}

/// How one stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs; its health is not known yet.
    Starting,
    /// It runs, and is well as far as anybody checks.
    Well,
    /// Its health check fails; with its last words.
    Unwell(String),
    /// It ended.
    Ended(Exit),
}

/// Bytes as they come.
pub type Bytestream = BoxStream<'static, Result<Bytes, Error>>;

/// Runs containers beside those of jobs, and reaches into both.
pub trait Beside: Send + Sync {
    /// Sees that an image is here, pulled by these credentials if any: they are tried each time, for what is here may be
    /// someone else's.
    fn ensure_image_as<'a>(
        &'a self,
        image: &'a str,
        credentials: Option<&'a (String, String)>,
    ) -> BoxFuture<'a, Result<(), Error>>;
    /// Creates and starts one. What it writes comes by the stream when that is asked for, from the first byte; of one that was started
    /// before, as far as the engine has kept it.
    fn start_beside(
        &self,
        spec: BesideSpec,
        heard: bool,
    ) -> BoxFuture<'_, Result<(ContainerId, Bytestream), Error>>;
    /// By which names the engine knows a container of an attempt and its network.
    fn called(&self, attempt: AttemptId, part: &Part, slot: u16) -> Called;
    /// How it stands.
    fn standing<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Standing, Error>>;
    /// The last of what it has written.
    fn last_output<'a>(&'a self, id: &'a ContainerId, lines: u32) -> BoxFuture<'a, Result<Vec<u8>, Error>>;
    /// A tar of what is at an absolute path in a container; none when there is nothing.
    fn take<'a>(
        &'a self,
        id: &'a ContainerId,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytestream>, Error>>;
    /// Puts what a tar holds below the root of a container.
    fn give<'a>(
        &'a self,
        id: &'a ContainerId,
        tar: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> BoxFuture<'a, Result<(), Error>>;
    /// Its environment as it was made, and its user.
    fn made_with<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<MadeWith, Error>>;
    /// Removes volumes of repositories that are of no use any more.
    fn forget_volumes<'a>(
        &'a self,
        used: &'a (dyn Fn(RepoId) -> bool + Sync),
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// Names that an engine takes for ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Of a container.
    pub id: String,
    /// Of the network that it is in.
    pub network: String,
}

/// What a container was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeWith {
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Name or number, group behind a colon; empty for root.
    pub user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_survives_its_label() {
        for part in [Part::Job, Part::Service("my-db_1".to_owned()), Part::Step(65535)] {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        for bad in ["", "step:", "step:x", "other:1"] {
            assert_eq!(bad.parse::<Part>(), Err(()), "{bad}");
        }
    }

    /// Row 37.
    #[test]
    fn volumes_are_by_name_and_never_of_the_host() -> Result<(), Error> {
        let repo = Some(RepoId(7));
        let named = |path: &str, read_only| Volume {
            name: Some((RepoId(7), "data".to_owned())),
            path: path.to_owned(),
            read_only,
        };
        assert_eq!(Volume::parse("data:/var/lib/data", repo)?, named("/var/lib/data", false));
        assert_eq!(Volume::parse("data:/x:ro", repo)?, named("/x", true));
        assert_eq!(Volume::parse("/scratch", None)?.name, None);
        for (text, words) in [
            ("/:/host", "directories of the host"),
            ("/var/run/docker.sock:/var/run/docker.sock", "directories of the host"),
            ("./x:/x", "directories of the host"),
            ("~/x:/x", "directories of the host"),
            ("..:/x", "directories of the host"),
            ("a/../../b:/x", "directories of the host"),
            ("data:x", "not absolute and plain"),
            ("data:/a/../b", "not absolute and plain"),
            ("data:/", "not absolute and plain"),
            ("data:/troupe", "nothing can be mounted"),
            ("data:/troupe/control", "nothing can be mounted"),
            ("data:/proc/1", "nothing can be mounted"),
            ("data:/workspace", "nothing can be mounted"),
            ("data:/x:rshared", "neither ro nor rw"),
            ("data:/x:ro:z", "more parts"),
            (":/x", "1 to 100"),
            ("", "not absolute"),
        ] {
            let error = Volume::parse(text, repo).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{text}: {error}");
        }
        let of_none = Volume::parse("data:/x", None).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(of_none.contains("this job is of none, or for a fork"), "{of_none}");
        Ok(())
    }

    #[test]
    fn ports_are_those_of_the_service() -> Result<(), Error> {
        assert_eq!(port("80")?, (80, "tcp"));
        assert_eq!(port("8080:80")?, (80, "tcp"));
        assert_eq!(port("53:53/udp")?, (53, "udp"));
        for bad in ["", "0", "x", "80:", ":80", "0:80", "127.0.0.1:80:80", "80/sctp", "65536", "80-90"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        Ok(())
    }
}
