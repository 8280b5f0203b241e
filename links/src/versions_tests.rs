//! Builds that speak other versions of a protocol, as they will come: what they agree on, and what both sides say when they
//! cannot. In here because only one build is there to be tested with.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Counters, Dialer, Error, Identity, Limits, Link, Port, Protocol, Versions, ca};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

fn speaking(dir: &Path, node: &str, versions: Versions) -> Result<Identity> {
    if !dir.join("ca").exists() {
        ca::init(&dir.join("ca"))?;
    }
    let out = dir.join(format!("{node}-{versions}"));
    let files = ca::issue(&dir.join("ca"), &out, &node.parse()?, 30)?;
    Ok(Identity::load_speaking(files, [versions; 3])?)
}

struct Server {
    addr: String,
    links: Vec<mpsc::Receiver<Link>>,
    counters: Box<dyn Fn() -> Counters>,
    _run: JoinSet<()>,
}

impl Server {
    async fn start(identity: Identity) -> Result<Self> {
        let port = Port::bind("127.0.0.1:0", identity, Limits::default()).await?;
        let addr = port.local_addr()?.to_string();
        let links =
            Protocol::ALL.into_iter().map(|p| port.incoming(p)).collect::<std::result::Result<_, _>>()?;
        let counters = Box::new(port.counters());
        let mut run = JoinSet::new();
        run.spawn(port.run(CancellationToken::new()));
        Ok(Self { addr, links, counters, _run: run })
    }
}

#[tokio::test]
async fn two_builds_take_the_newest_version_that_both_speak() -> Result {
    let dir = tempfile::tempdir()?;
    let versions = |min, max| Versions { min, max };
    for (theirs, ours, agreed) in [
        (versions(1, 1), versions(1, 1), 1),
        (versions(1, 2), versions(1, 1), 1),
        (versions(1, 1), versions(1, 2), 1),
        (versions(2, 4), versions(3, 7), 4),
    ] {
        let mut server = Server::start(speaking(dir.path(), "b", theirs)?).await?;
        let dialer = Dialer::new(speaking(dir.path(), "a", ours)?);
        for protocol in Protocol::ALL {
            let link = dialer.dial(&server.addr, protocol, None, PATIENCE).await?;
            let other = server.links[protocol.index()].recv().await.ok_or("no link")?;
            assert_eq!((link.version, other.version), (agreed, agreed), "{theirs} {ours}");
        }
        std::fs::remove_dir_all(dir.path())?;
        std::fs::create_dir(dir.path())?;
    }
    Ok(())
}

#[tokio::test]
async fn two_builds_that_are_too_far_apart_both_say_so_with_both_ranges() -> Result {
    let dir = tempfile::tempdir()?;
    let (old, new) = (Versions { min: 1, max: 2 }, Versions { min: 3, max: 4 });
    for (n, (theirs, ours)) in [(old, new), (new, old)].into_iter().enumerate() {
        let server = Server::start(speaking(dir.path(), &format!("b{n}"), theirs)?).await?;
        let dialer = Dialer::new(speaking(dir.path(), &format!("a{n}"), ours)?);
        for protocol in Protocol::ALL {
            let error = dialer.dial(&server.addr, protocol, None, PATIENCE).await.err().ok_or("a link")?;
            let words = format!("{} speaks version {theirs} of {protocol}, this node {ours}", server.addr);
            assert!(matches!(error, Error::NoCommonVersion { .. }), "{error}");
            assert!(error.to_string().starts_with(&words), "{error}");
        }
        // Counted when it was said, which is a moment after it was heard.
        let counted = async {
            while (server.counters)().refused != 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, counted).await?;
        assert_eq!((server.counters)().accepted, 0);
    }
    Ok(())
}
