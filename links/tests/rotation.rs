//! Certificates that are replaced while their node runs, and a CA that is changed for another, without a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use links::{Dialer, Error, Files, Identity, Limits, Link, PeerName, Port, Protocol, ca};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(20);
const OFTEN: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(3600);

fn name(text: &str) -> PeerName {
    text.parse().expect("a good name")
}

/// A node with its port, whose files are watched.
struct Node {
    identity: Identity,
    files: Files,
    dialer: Dialer,
    addr: String,
    raft: Mutex<mpsc::Receiver<Link>>,
    now: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Node {
    async fn start(files: Files, every: Duration) -> Result<Self> {
        let identity = Identity::load(files.clone())?;
        let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await?;
        let (addr, raft) = (port.local_addr()?.to_string(), Mutex::new(port.incoming(Protocol::Raft)?));
        let (now, mut tasks) = (Arc::new(Notify::new()), JoinSet::new());
        tasks.spawn(port.run(CancellationToken::new()));
        let watched = (identity.clone(), Arc::clone(&now));
        tasks.spawn(async move { watched.0.watch(every, &watched.1, &CancellationToken::new()).await });
        let dialer = Dialer::new(identity.clone());
        Ok(Self { identity, files, dialer, addr, raft, now, _tasks: tasks })
    }

    async fn link_to(&self, other: &Node) -> Result<(Link, Link)> {
        let ours = self.dialer.dial(&other.addr, Protocol::Raft, None, PATIENCE).await?;
        let theirs = tokio::time::timeout(PATIENCE, other.raft.lock().await.recv())
            .await?
            .ok_or("the port is closed")?;
        Ok((ours, theirs))
    }

    /// Waits until what is in use ends at this moment.
    async fn uses(&self, end: SystemTime) -> Result {
        let check = async {
            while self.identity.expires() != end {
                tokio::task::yield_now().await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, check).await?)
    }
}

/// A certificate of the CA in `ca`, in a directory of its own.
fn issue(dir: &Path, ca: &str, node: &str, days: i64) -> Result<Files> {
    let ca_dir = dir.join(ca);
    if !ca_dir.exists() {
        ca::init(&ca_dir)?;
    }
    Ok(ca::issue(&ca_dir, &dir.join(format!("{node}-{ca}-{days}")), &name(node), days)?)
}

fn end_of(files: &Files) -> Result<SystemTime> {
    Ok(Identity::load(files.clone())?.expires())
}

/// As an operator does it: beside it, then over it.
fn replace(old: &Path, text: &[u8]) -> Result {
    let aside: PathBuf = old.with_extension("new");
    fs::write(&aside, text)?;
    Ok(fs::rename(aside, old)?)
}

fn shown(link: &Link) -> Option<Vec<u8>> {
    let (_, session) = link.stream.get_ref();
    session.peer_certificates().and_then(|chain| chain.first()).map(|der| der.to_vec())
}

async fn still_works((ours, theirs): &mut (Link, Link)) -> Result {
    ours.stream.write_all(b"x").await?;
    ours.stream.flush().await?;
    assert_eq!(theirs.stream.read_u8().await?, b'x');
    Ok(())
}

#[tokio::test]
async fn a_replaced_certificate_is_found_and_used_for_new_links_while_old_ones_live_on() -> Result {
    let dir = tempfile::tempdir()?;
    let a = Node::start(issue(dir.path(), "ca", "a", 30)?, OFTEN).await?;
    let b = Node::start(issue(dir.path(), "ca", "b", 30)?, OFTEN).await?;
    let mut old = a.link_to(&b).await?;
    let new = issue(dir.path(), "ca", "b", 60)?;
    // For a moment the key is another's.
    replace(&b.files.cert, &fs::read(&new.cert)?)?;
    let between = b.link_to(&a).await?;
    replace(&b.files.key, &fs::read(&new.key)?)?;
    b.uses(end_of(&new)?).await?;

    let certificate = CertificateDer::from_pem_file(&new.cert)?.to_vec();
    assert_eq!(shown(&a.link_to(&b).await?.0), Some(certificate.clone()), "as a server");
    assert_eq!(shown(&b.link_to(&a).await?.1), Some(certificate.clone()), "as a client");
    assert_ne!(shown(&old.0), Some(certificate.clone()));
    assert_ne!(shown(&between.1), Some(certificate));
    still_works(&mut old).await
}

#[tokio::test]
async fn what_does_not_stand_is_not_used_until_it_does() -> Result {
    let dir = tempfile::tempdir()?;
    let a = Node::start(issue(dir.path(), "ca", "a", 30)?, OFTEN).await?;
    let b = Node::start(issue(dir.path(), "ca", "b", 30)?, OFTEN).await?;
    let good = fs::read(&b.files.cert)?;
    let certificate = CertificateDer::from_pem_slice(&good)?.to_vec();
    let expired = ca::issue(&dir.path().join("ca"), &dir.path().join("expired"), &name("b"), -1)?;
    let foreign = issue(dir.path(), "other", "b", 30)?;
    let renamed = issue(dir.path(), "ca", "c", 30)?;
    let bad =
        [b"garbage".to_vec(), fs::read(&expired.cert)?, fs::read(&foreign.cert)?, fs::read(&renamed.cert)?];
    for text in &bad {
        replace(&b.files.cert, text)?;
        assert!(b.identity.reload().is_err());
        assert_eq!(shown(&a.link_to(&b).await?.0).as_ref(), Some(&certificate));
    }
    fs::remove_file(&b.files.cert)?;
    assert!(matches!(b.identity.reload(), Err(Error::File { .. })));
    assert_eq!(shown(&b.link_to(&a).await?.1).as_ref(), Some(&certificate));
    let new = issue(dir.path(), "ca", "b", 60)?;
    replace(&b.files.key, &fs::read(&new.key)?)?;
    replace(&b.files.cert, &fs::read(&new.cert)?)?;
    b.uses(end_of(&new)?).await
}

#[tokio::test]
async fn who_is_told_does_not_wait_for_the_next_look() -> Result {
    let dir = tempfile::tempdir()?;
    let b = Node::start(issue(dir.path(), "ca", "b", 30)?, NEVER).await?;
    let new = issue(dir.path(), "ca", "b", 60)?;
    replace(&b.files.key, &fs::read(&new.key)?)?;
    replace(&b.files.cert, &fs::read(&new.cert)?)?;
    b.now.notify_one();
    b.uses(end_of(&new)?).await
}

/// In four steps, at each of which every node reaches every other: the new CA is known to all, then its certificates come
/// one by one, then the old one is forgotten.
#[tokio::test]
async fn a_ca_is_changed_for_another_without_a_link_that_fails() -> Result {
    let dir = tempfile::tempdir()?;
    let a = Node::start(issue(dir.path(), "old", "a", 30)?, NEVER).await?;
    let b = Node::start(issue(dir.path(), "old", "b", 30)?, NEVER).await?;
    let (new_a, new_b) = (issue(dir.path(), "new", "a", 60)?, issue(dir.path(), "new", "b", 60)?);
    let leaver = Dialer::new(Identity::load(issue(dir.path(), "old", "leaver", 30)?)?);
    let mut first = a.link_to(&b).await?;
    let (old, new) = (fs::read(dir.path().join("old/ca.pem"))?, fs::read(dir.path().join("new/ca.pem"))?);

    for node in [&a, &b] {
        replace(&node.files.ca, &[&old[..], &new[..]].concat())?;
        node.identity.reload()?;
        a.link_to(&b).await?;
        b.link_to(&a).await?;
    }
    for (node, files) in [(&a, &new_a), (&b, &new_b)] {
        let before = node.identity.ca_fingerprint();
        replace(&node.files.key, &fs::read(&files.key)?)?;
        replace(&node.files.cert, &fs::read(&files.cert)?)?;
        node.identity.reload()?;
        assert_ne!(node.identity.ca_fingerprint(), before);
        a.link_to(&b).await?;
        b.link_to(&a).await?;
    }
    for node in [&a, &b] {
        replace(&node.files.ca, &new)?;
        node.identity.reload()?;
        a.link_to(&b).await?;
        b.link_to(&a).await?;
    }
    still_works(&mut first).await?;
    let refused = leaver.dial(&b.addr, Protocol::Raft, None, PATIENCE).await;
    assert!(matches!(refused, Err(Error::Handshake { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_certificate_is_known() -> Result {
    let dir = tempfile::tempdir()?;
    let identity = Identity::load(issue(dir.path(), "ca", "a", 30)?)?;
    let days = identity.expires().duration_since(SystemTime::now())?.as_secs_f64() / 86_400.0;
    assert!((29.9..=30.0).contains(&days), "{days}");
    Ok(())
}
