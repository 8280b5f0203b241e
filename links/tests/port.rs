//! The cluster port against bad peers (bad-input row 44 and the silent client), on 127.0.0.1.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use links::{Counters, Dialer, Error, Identity, Limits, Link, PeerName, Port, Protocol, ca};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    addr: String,
    raft: mpsc::Receiver<Link>,
    others: Vec<(Protocol, mpsc::Receiver<Link>)>,
    counters: Box<dyn Fn() -> Counters>,
    _run: tokio::task::JoinSet<()>,
    _stop: DropGuard,
}

impl Server {
    async fn start(identity: Identity, limits: Limits) -> Result<Self> {
        let port = Port::bind("127.0.0.1:0", identity, limits).await?;
        let addr = port.local_addr()?.to_string();
        let raft = port.incoming(Protocol::Raft)?;
        assert!(matches!(port.incoming(Protocol::Raft), Err(Error::Taken { .. })));
        let others = vec![
            (Protocol::Actors, port.incoming(Protocol::Actors)?),
            (Protocol::Bulk, port.incoming(Protocol::Bulk)?),
        ];
        let counters = Box::new(port.counters());
        let stop = CancellationToken::new();
        let mut run = tokio::task::JoinSet::new();
        run.spawn(port.run(stop.clone()));
        Ok(Self { addr, raft, others, counters, _run: run, _stop: stop.drop_guard() })
    }

    /// Waits until the counters are as wanted.
    async fn counted(&self, wanted: impl Fn(Counters) -> bool) -> Result {
        let check = async {
            while !wanted((self.counters)()) {
                tokio::task::yield_now().await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, check).await.map_err(|_| format!("{:?}", (self.counters)()))?)
    }
}

fn name(text: &str) -> PeerName {
    text.parse().expect("a good name")
}

fn identity(dir: &Path, ca: &str, node: &str) -> Result<Identity> {
    let ca_dir = dir.join(ca);
    if !ca_dir.exists() {
        ca::init(&ca_dir)?;
    }
    Ok(Identity::load(ca::issue(&ca_dir, &dir.join(format!("{ca}-{node}")), &name(node), 30)?)?)
}

/// True when the other side closes without sending anything.
async fn is_closed(mut stream: impl AsyncReadExt + Unpin) -> bool {
    let mut byte = [0];
    match tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await {
        Ok(Ok(n)) => n == 0,
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

async fn dial(dialer: &Dialer, server: &Server, protocol: Protocol) -> std::result::Result<Link, Error> {
    dialer.dial(&server.addr, protocol, None, PATIENCE).await
}

#[tokio::test]
async fn each_protocol_reaches_its_receiver_with_the_peers_name() -> Result {
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let mut receivers = std::mem::take(&mut server.others);
    for (protocol, receiver) in &mut receivers {
        let mut ours = dial(&dialer, &server, *protocol).await?;
        assert_eq!(ours.peer, name("b"));
        let mut theirs = receiver.recv().await.ok_or("no link")?;
        assert_eq!(theirs.peer, name("a"));
        ours.stream.write_all(b"hi").await?;
        ours.stream.flush().await?;
        let mut text = [0; 2];
        theirs.stream.read_exact(&mut text).await?;
        assert_eq!(&text, b"hi");
    }
    Ok(())
}

#[tokio::test]
async fn another_nodes_certificate_is_not_taken_for_the_expected_one() -> Result {
    let dir = tempfile::tempdir()?;
    let server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let result = dialer.dial(&server.addr, Protocol::Raft, Some(&name("c")), PATIENCE).await;
    assert!(matches!(result, Err(Error::WrongPeer { found, .. }) if found == "b"));
    Ok(())
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused_by_both_sides() -> Result {
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    let foreign = Dialer::new(identity(dir.path(), "other", "a")?);
    assert!(matches!(dial(&foreign, &server, Protocol::Raft).await, Err(Error::Handshake { .. })));
    server.counted(|c| c.refused == 1).await?;
    assert!(server.raft.try_recv().is_err());
    Ok(())
}

/// A client that trusts the right CA, with whatever certificate.
async fn raw_client(
    dir: &Path,
    server: &Server,
    alpn: &[u8],
    certificate: Option<(&str, i64, &str)>,
) -> Result<std::io::Result<tokio_rustls::client::TlsStream<TcpStream>>> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca/ca.pem"))?)?;
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some((ca, days, node)) => {
            if !dir.join(ca).exists() {
                ca::init(&dir.join(ca))?;
            }
            let files = ca::issue(&dir.join(ca), &dir.join("raw"), &name(node), days)?;
            builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&files.cert)?],
                PrivateKeyDer::from_pem_file(&files.key)?,
            )?
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(&server.addr).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from("cluster.troupe")?, tcp).await)
}

#[tokio::test]
async fn no_certificate_a_foreign_one_and_an_expired_one_are_closed_before_any_decode() -> Result {
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    let cases = [None, Some(("other", 30, "x")), Some(("ca", -1, "y"))];
    for (n, certificate) in cases.into_iter().enumerate() {
        // Under TLS 1.3 the client may believe it is connected until it reads.
        match raw_client(dir.path(), &server, b"troupe-raft/1", certificate).await? {
            Ok(stream) => assert!(is_closed(stream).await, "{certificate:?}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        server.counted(|c| c.refused == n as u64 + 1).await?;
    }
    assert!(server.raft.try_recv().is_err());
    Ok(())
}

#[tokio::test]
async fn an_unknown_protocol_and_plain_text_are_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    assert!(raw_client(dir.path(), &server, b"h2", Some(("ca", 30, "x"))).await?.is_err());
    let mut plain = TcpStream::connect(&server.addr).await?;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    server.counted(|c| c.refused == 2).await?;
    Ok(())
}

#[tokio::test]
async fn silent_clients_block_nobody_and_are_closed() -> Result {
    let dir = tempfile::tempdir()?;
    let limits = Limits { handshakes: 8, handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, limits).await?;
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(TcpStream::connect(&server.addr).await?);
    }
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let _link = dial(&dialer, &server, Protocol::Raft).await?;
    server.raft.recv().await.ok_or("no link")?;
    for stream in silent {
        assert!(is_closed(stream).await);
    }
    server.counted(|c| c.timed_out == 7).await?;
    Ok(())
}

#[tokio::test]
async fn past_the_cap_connections_are_closed_at_once() -> Result {
    let dir = tempfile::tempdir()?;
    let limits = Limits { handshakes: 2, handshake_timeout: PATIENCE, ..Limits::default() };
    let server = Server::start(identity(dir.path(), "ca", "b")?, limits).await?;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(TcpStream::connect(&server.addr).await?);
    }
    server.counted(|c| c.over_limit == 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_restart_and_another_name_is_not() -> Result {
    let dir = tempfile::tempdir()?;
    let ca_dir = dir.path().join("ca");
    ca::init(&ca_dir)?;
    assert!(matches!(ca::init(&ca_dir), Err(Error::Exists { .. })));
    let files = ca::issue(&ca_dir, &dir.path().join("b"), &name("b"), 30)?;
    assert!(matches!(ca::issue(&ca_dir, &dir.path().join("b"), &name("b"), 30), Err(Error::Exists { .. })));
    let identity = Identity::load(files.clone())?;
    let other = ca::issue(&ca_dir, &dir.path().join("c"), &name("c"), 30)?;
    std::fs::copy(&other.cert, &files.cert)?;
    std::fs::copy(&other.key, &files.key)?;
    assert!(matches!(identity.reload(), Err(Error::BadFile { .. })));
    let renewed = ca::issue(&ca_dir, &dir.path().join("b2"), &name("b"), 30)?;
    std::fs::copy(&renewed.cert, &files.cert)?;
    std::fs::copy(&renewed.key, &files.key)?;
    identity.reload()?;
    let expired = ca::issue(&ca_dir, &dir.path().join("old"), &name("b"), -1)?;
    assert!(matches!(Identity::load(expired), Err(Error::NotValidNow { .. })));
    Ok(())
}

/// The certificate that the other side of a link has shown.
fn shown(link: &Link) -> Option<Vec<u8>> {
    let (_, session) = link.stream.get_ref();
    session.peer_certificates().and_then(|chain| chain.first()).map(|der| der.to_vec())
}

#[tokio::test]
async fn after_a_reload_new_links_carry_the_new_certificate_and_old_ones_stay() -> Result {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let dir = tempfile::tempdir()?;
    let ca_dir = dir.path().join("ca");
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let files = ca::issue(&ca_dir, &dir.path().join("b"), &name("b"), 30)?;
    let before = CertificateDer::from_pem_file(&files.cert)?.to_vec();
    let served = Identity::load(files.clone())?;
    let mut server = Server::start(served.clone(), Limits::default()).await?;
    let mut old = dial(&dialer, &server, Protocol::Raft).await?;
    let mut old_theirs = server.raft.recv().await.ok_or("no link")?;
    assert_eq!(shown(&old), Some(before.clone()));

    let renewed = ca::issue(&ca_dir, &dir.path().join("b2"), &name("b"), 30)?;
    let after = CertificateDer::from_pem_file(&renewed.cert)?.to_vec();
    assert_ne!(before, after);
    std::fs::copy(&renewed.cert, &files.cert)?;
    std::fs::copy(&renewed.key, &files.key)?;
    served.reload()?;
    assert_eq!(shown(&dial(&dialer, &server, Protocol::Raft).await?), Some(after));

    old.stream.write_all(b"x").await?;
    old.stream.flush().await?;
    assert_eq!(old_theirs.stream.read_u8().await?, b'x');
    Ok(())
}

#[tokio::test]
async fn past_the_cap_of_links_new_ones_are_closed_until_one_ends() -> Result {
    let dir = tempfile::tempdir()?;
    let limits = Limits { links: 2, ..Limits::default() };
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, limits).await?;
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let _raft = dial(&dialer, &server, Protocol::Raft).await?;
    let held = server.raft.recv().await.ok_or("no link")?;
    let _bulk = dial(&dialer, &server, Protocol::Bulk).await?;
    server.counted(|c| c.accepted == 2).await?;
    // The cap is of all protocols together. Under TLS 1.3 our side may believe that it is connected until it reads.
    if let Ok(link) = dial(&dialer, &server, Protocol::Actors).await {
        assert!(is_closed(link.stream).await);
    }
    server.counted(|c| c.too_many_links == 1 && c.accepted == 2).await?;
    // The place belongs to the stream: it stays taken when the rest of the link is gone, and is free when both halves are.
    let (read, write) = tokio::io::split(held.stream);
    drop(read);
    if let Ok(link) = dial(&dialer, &server, Protocol::Actors).await {
        assert!(is_closed(link.stream).await);
    }
    server.counted(|c| c.too_many_links == 2 && c.accepted == 2).await?;
    drop(write);
    let _again = dial(&dialer, &server, Protocol::Raft).await?;
    server.raft.recv().await.ok_or("no link")?;
    server.counted(|c| c.too_many_links == 2 && c.accepted == 3).await?;
    Ok(())
}

#[tokio::test]
async fn both_sides_of_a_link_find_out_when_the_other_vanishes() -> Result {
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(identity(dir.path(), "ca", "b")?, Limits::default()).await?;
    let dialer = Dialer::new(identity(dir.path(), "ca", "a")?);
    let ours = dial(&dialer, &server, Protocol::Raft).await?;
    let theirs = server.raft.recv().await.ok_or("no link")?;
    for link in [&ours, &theirs] {
        let socket = socket2::SockRef::from(link.stream.get_ref().0);
        assert!(socket.keepalive()? && socket.tcp_nodelay()?);
        let silence = socket.tcp_keepalive_time()?;
        let probing = socket.tcp_keepalive_interval()? * socket.tcp_keepalive_retries()?;
        assert_eq!((silence, probing), (Duration::from_secs(15), Duration::from_secs(20)));
    }
    Ok(())
}
