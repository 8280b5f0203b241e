//! Machines without a certificate on the cluster port: how they talk to a member, whom they refuse to talk to, and what
//! they cannot get.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use links::join::{self, Conversation, MAX_FRAME};
use links::{Counters, Dialer, Error, Files, Identity, Limits, Link, PeerName, Port, Protocol, ca};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// A member behind its port.
struct Member {
    addr: String,
    fingerprint: [u8; 32],
    strangers: mpsc::Receiver<Conversation>,
    raft: mpsc::Receiver<Link>,
    counters: Box<dyn Fn() -> Counters>,
    _run: JoinSet<()>,
}

impl Member {
    async fn start(dir: &Path, limits: Limits) -> Result<Self> {
        let identity = Identity::load(files(dir, "ca", "member", 30)?)?;
        let fingerprint = identity.ca_fingerprint();
        let port = Port::bind("127.0.0.1:0", identity, limits).await?;
        let addr = port.local_addr()?.to_string();
        let strangers = port.strangers()?;
        assert!(matches!(port.strangers(), Err(Error::Taken { .. })));
        let raft = port.incoming(Protocol::Raft)?;
        let counters = Box::new(port.counters());
        let mut run = JoinSet::new();
        run.spawn(port.run(CancellationToken::new()));
        Ok(Self { addr, fingerprint, strangers, raft, counters, _run: run })
    }

    async fn dial(&self) -> std::result::Result<Conversation, Error> {
        join::dial(&self.addr, self.fingerprint, PATIENCE).await
    }

    async fn next(&mut self) -> Result<Conversation> {
        Ok(tokio::time::timeout(PATIENCE, self.strangers.recv()).await?.ok_or("the port is closed")?)
    }

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

fn files(dir: &Path, ca: &str, node: &str, days: i64) -> Result<Files> {
    let ca_dir = dir.join(ca);
    if !ca_dir.exists() {
        ca::init(&ca_dir)?;
    }
    Ok(ca::issue(&ca_dir, &dir.join(format!("{ca}-{node}")), &name(node), days)?)
}

/// True when the conversation is over although nothing was said.
async fn is_over(conversation: std::result::Result<Conversation, Error>) -> bool {
    match conversation {
        Ok(mut conversation) => conversation.receive().await.is_err(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_machine_without_a_certificate_gets_one_and_is_a_member_then() -> Result {
    let dir = tempfile::tempdir()?;
    let mut member = Member::start(dir.path(), Limits::default()).await?;
    let signer = ca::Signer::load(&dir.path().join("ca/ca.pem"), &dir.path().join("ca/ca-key.pem"))?;
    let request = ca::request(&name("new"))?;
    let mut ours = member.dial().await?;
    ours.send(request.csr_pem.as_bytes()).await?;
    let mut theirs = member.next().await?;
    let csr = String::from_utf8(theirs.receive().await?)?;
    theirs.send(signer.sign(&csr, &name("new"), 30)?.as_bytes()).await?;
    theirs.send(signer.bundle().as_bytes()).await?;
    theirs.close().await;
    let certificate = String::from_utf8(ours.receive().await?)?;
    let bundle = String::from_utf8(ours.receive().await?)?;
    let out = dir.path().join("new");
    let identity = Identity::load(ca::install(&out, &name("new"), &request.key_pem, &certificate, &bundle)?)?;
    let dialer = Dialer::new(identity);
    dialer.dial(&member.addr, Protocol::Raft, Some(&name("member")), PATIENCE).await?;
    assert_eq!(member.raft.recv().await.ok_or("no link")?.peer, name("new"));
    member.counted(|c| c.strangers == 1 && c.accepted == 1 && c.refused == 0).await
}

#[tokio::test]
async fn a_newcomer_talks_to_members_of_its_cluster_alone() -> Result {
    let dir = tempfile::tempdir()?;
    let member = Member::start(dir.path(), Limits::default()).await?;
    let other = ca::fingerprint(b"another CA");
    let refused = join::dial(&member.addr, other, PATIENCE).await;
    assert!(matches!(refused, Err(Error::WrongCa { .. })), "{refused:?}");

    let ca_der = CertificateDer::from_pem_file(dir.path().join("ca/ca.pem"))?;
    // Who shows the right CA, as anybody who has seen it can, but has no certificate of it that stands.
    let impostor = files(dir.path(), "another", "impostor", 30)?;
    let expired = files(dir.path(), "ca", "expired", -1)?;
    let nameless = nameless(dir.path())?;
    for (what, files) in [("of another CA", impostor), ("expired", expired), ("of no member", nameless)] {
        let chain = vec![CertificateDer::from_pem_file(&files.cert)?, ca_der.clone()];
        let (addr, _server) = impostor_port(chain, &files.key).await?;
        let refused = join::dial(&addr, member.fingerprint, PATIENCE).await;
        assert!(matches!(refused, Err(Error::Handshake { .. })), "{what}: {refused:?}");
    }
    // And who has the right one but does not show the CA.
    let lacking = files(dir.path(), "ca", "lacking", 30)?;
    let (addr, _server) =
        impostor_port(vec![CertificateDer::from_pem_file(&lacking.cert)?], &lacking.key).await?;
    let refused = join::dial(&addr, member.fingerprint, PATIENCE).await;
    assert!(matches!(refused, Err(Error::WrongCa { .. })), "{refused:?}");
    Ok(())
}

/// A certificate of the CA that is not for members: without their common name.
fn nameless(dir: &Path) -> Result<Files> {
    let read = |file: &str| std::fs::read_to_string(dir.join("ca").join(file));
    let issuer =
        rcgen::Issuer::from_ca_cert_pem(&read("ca.pem")?, rcgen::KeyPair::from_pem(&read("ca-key.pem")?)?)?;
    let key = rcgen::KeyPair::generate()?;
    let params = rcgen::CertificateParams::new(vec!["x.node.troupe".to_owned()])?;
    let (cert, key_path) = (dir.join("nameless.pem"), dir.join("nameless-key.pem"));
    std::fs::write(&cert, params.signed_by(&key, &issuer)?.pem())?;
    std::fs::write(&key_path, key.serialize_pem())?;
    Ok(Files { ca: dir.join("ca/ca.pem"), cert, key: key_path })
}

/// Somebody who speaks the protocol with these certificates.
async fn impostor_port(chain: Vec<CertificateDer<'static>>, key: &Path) -> Result<(String, JoinSet<()>)> {
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"troupe-join/1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?.to_string();
    let mut server = JoinSet::new();
    server.spawn(async move {
        if let Ok((tcp, _)) = listener.accept().await
            && let Ok(mut stream) = acceptor.accept(tcp).await
        {
            // Held until the other side goes.
            let _ = stream.read(&mut [0]).await;
        }
    });
    Ok((addr, server))
}

#[tokio::test]
async fn the_protocol_of_joining_is_no_way_to_another_one() -> Result {
    let dir = tempfile::tempdir()?;
    let mut member = Member::start(dir.path(), Limits::default()).await?;
    for (n, alpn) in [
        vec!["troupe-raft/1"],
        vec!["troupe-join/1", "troupe-raft/1"],
        vec!["troupe-bulk/1", "troupe-join/1"],
        vec!["troupe-join/1", "troupe-no-version", "troupe-actors/1"],
        vec!["troupe-actors/1", "h2"],
        vec!["troupe-no-version"],
        vec!["troupe-raft/99", "troupe-no-version"],
        vec!["troupe-join"],
        vec![],
    ]
    .into_iter()
    .enumerate()
    {
        match nobody(dir.path(), &member.addr, &alpn).await? {
            // Under TLS 1.3 the client may believe that it is connected until it reads.
            Ok(mut stream) => {
                let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await?;
                assert!(matches!(read, Ok(0) | Err(_)), "{alpn:?}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        member.counted(|c| c.refused == n as u64 + 1 && c.accepted + c.strangers == 0).await?;
    }
    assert!(member.raft.try_recv().is_err() && member.strangers.try_recv().is_err());
    Ok(())
}

/// A client without a certificate that offers these protocols.
async fn nobody(
    dir: &Path,
    addr: &str,
    alpn: &[&str],
) -> Result<std::io::Result<tokio_rustls::client::TlsStream<TcpStream>>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca/ca.pem"))?)?;
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from("cluster.troupe")?, TcpStream::connect(addr).await?).await)
}

#[tokio::test]
async fn strangers_have_few_places_and_none_of_the_members() -> Result {
    let dir = tempfile::tempdir()?;
    let limits = Limits { strangers: 2, conversation: PATIENCE, links: 1, ..Limits::default() };
    let mut member = Member::start(dir.path(), limits).await?;
    let (_first, _second) = (member.dial().await?, member.dial().await?);
    let (held, _also) = (member.next().await?, member.next().await?);
    assert!(is_over(member.dial().await).await);
    member.counted(|c| c.strangers == 2 && c.strangers_over_limit == 1).await?;
    // The only place of members is free.
    let dialer = Dialer::new(Identity::load(files(dir.path(), "ca", "other", 30)?)?);
    let _link = dialer.dial(&member.addr, Protocol::Raft, None, PATIENCE).await?;
    member.counted(|c| c.accepted == 1).await?;
    // A place comes back with its conversation.
    drop(held);
    let _third = member.dial().await?;
    member.next().await?;
    member.counted(|c| c.strangers == 3 && c.strangers_over_limit == 1 && c.too_many_links == 0).await
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() -> Result {
    let dir = tempfile::tempdir()?;
    let limits = Limits { conversation: Duration::from_millis(300), ..Limits::default() };
    let mut member = Member::start(dir.path(), limits).await?;
    let _silent = member.dial().await?;
    let mut theirs = member.next().await?;
    let error = theirs.receive().await.err().ok_or("something was said")?;
    assert!(
        matches!(&error, Error::Conversation { source, .. } if source.kind() == std::io::ErrorKind::TimedOut)
    );
    Ok(())
}

#[tokio::test]
async fn who_says_too_much_is_cut_off() -> Result {
    let dir = tempfile::tempdir()?;
    let mut member = Member::start(dir.path(), Limits::default()).await?;
    let mut stream = nobody(dir.path(), &member.addr, &["troupe-join/1"]).await??;
    stream.write_all(&(MAX_FRAME as u32 + 1).to_le_bytes()).await?;
    stream.flush().await?;
    let error = member.next().await?.receive().await.err().ok_or("it was taken")?;
    assert!(error.to_string().contains("a frame of 65537 bytes, the limit is 65536"), "{error}");

    let mut ours = member.dial().await?;
    let error = ours.send(&vec![0; MAX_FRAME + 1]).await.err().ok_or("it was sent")?;
    assert!(error.to_string().contains("the limit is 65536"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_takes_no_newcomers_closes_them() -> Result {
    let dir = tempfile::tempdir()?;
    let mut member = Member::start(dir.path(), Limits::default()).await?;
    member.strangers.close();
    assert!(is_over(member.dial().await).await);
    member.counted(|c| c.strangers_over_limit == 1 && c.strangers == 0).await
}
