//! A node's certificate and key, and the TLS settings made from them: TLS 1.3, both sides verified by the cluster's CA.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::protocol::{self, JOIN, JOIN_VERSIONS, NO_VERSION, SPOKEN, Spoken};
use crate::rotation::Stamp;
use crate::{Error, PeerName, Protocol, Versions, ca};

/// Where a node's certificate, its key and the CA's certificate are.
#[derive(Debug, Clone)]
pub struct Files {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The node's certificate.
    pub cert: PathBuf,
    /// The node's key.
    pub key: PathBuf,
}

/// A node's identity on the cluster port. Clones share what is loaded.
#[derive(Debug, Clone)]
pub struct Identity {
    files: Files,
    name: PeerName,
    spoken: Spoken,
    loaded: Arc<RwLock<Loaded>>,
}

#[derive(Debug, Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    /// For clients that have no certificate.
    strangers: Arc<ServerConfig>,
    /// The end of the certificate's validity.
    expires: SystemTime,
    /// How the files looked before they were read.
    stamp: Stamp,
    /// Of the CA's certificate with which this node's stands.
    ca_fingerprint: [u8; 32],
    clients: [Arc<ClientConfig>; 3],
}

impl Identity {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::BadFile`], [`Error::NotValidNow`], [`Error::NotOfThisCa`] or [`Error::WrongKey`], each
    /// naming the files: what other members would refuse is refused here, in words.
    pub fn load(files: Files) -> Result<Self, Error> {
        Self::load_speaking(files, SPOKEN)
    }

    /// As a build that speaks these versions.
    pub(crate) fn load_speaking(files: Files, spoken: Spoken) -> Result<Self, Error> {
        let (name, loaded) = load(&files, spoken)?;
        Ok(Self { files, name, spoken, loaded: Arc::new(RwLock::new(loaded)) })
    }

    /// The name in the certificate.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.name
    }

    /// Reads the files again, for a renewed certificate: new links use it, links that are up stay.
    ///
    /// # Errors
    /// As [`Identity::load`], and [`Error::BadFile`] when the new certificate carries another name; what was loaded
    /// before stays in use.
    pub fn reload(&self) -> Result<(), Error> {
        let (name, loaded) = load(&self.files, self.spoken)?;
        if name != self.name {
            let why = format!("carries the name {name}, this node is {}", self.name);
            return Err(Error::BadFile { path: self.files.cert.clone(), why });
        }
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// The fingerprint ([`ca::fingerprint`]) of the CA's certificate with which this node's stands: what a newcomer must
    /// know to talk to this node ([`crate::join::dial`]).
    #[must_use]
    pub fn ca_fingerprint(&self) -> [u8; 32] {
        self.loaded().ca_fingerprint
    }

    /// When the certificate in use expires.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.loaded().expires
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.loaded().stamp.clone()
    }

    pub(crate) fn spoken(&self, protocol: Protocol) -> Versions {
        self.spoken[protocol.index()]
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded().server)
    }

    pub(crate) fn strangers(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded().strangers)
    }

    pub(crate) fn client(&self, protocol: Protocol) -> Arc<ClientConfig> {
        Arc::clone(&self.loaded().clients[protocol.index()])
    }

    fn loaded(&self) -> RwLockReadGuard<'_, Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(files: &Files, spoken: Spoken) -> Result<(PeerName, Loaded), Error> {
    let stamp = Stamp::of(files);
    let chain = certificates(&files.cert)?;
    let leaf = chain.first().ok_or_else(|| bad(&files.cert, "holds no certificate"))?;
    let expires = check_validity(&files.cert, leaf)?;
    let name = PeerName::of_certificate(leaf)
        .ok_or_else(|| bad(&files.cert, "names no node (issue one with `troupe ca issue`)"))?;
    let mut roots = RootCertStore::empty();
    let authorities = certificates(&files.ca)?;
    for ca in &authorities {
        check_validity(&files.ca, ca)?;
        roots.add(ca.clone()).map_err(|e| bad(&files.ca, e))?;
    }
    let roots = Arc::new(roots);
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|e| bad(&files.key, e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|e| bad(&files.ca, e))?;
    check_chain(files, &chain, &roots, &provider, &*verifier)?;
    check_key(files, &chain, &key, &provider)?;
    let authority = own_authority(files, &chain, &authorities, &provider)?;
    let make = Settings { files, spoken, chain, key, roots, provider };
    let clients =
        [make.client(Protocol::Raft)?, make.client(Protocol::Actors)?, make.client(Protocol::Bulk)?];
    let loaded = Loaded {
        server: make.server(verifier)?,
        strangers: make.strangers(&authority)?,
        expires,
        stamp,
        ca_fingerprint: ca::fingerprint(&authority),
        clients,
    };
    Ok((name, loaded))
}

/// What TLS settings are made of.
struct Settings<'a> {
    files: &'a Files,
    spoken: Spoken,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Settings<'_> {
    fn server(&self, verifier: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&self.files.cert, e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| bad(&self.files.key, e))?;
        let names = |protocol: Protocol| protocol::names(protocol.as_str(), self.spoken[protocol.index()]);
        config.alpn_protocols = Protocol::ALL.into_iter().flat_map(names).collect();
        config.alpn_protocols.push(NO_VERSION.to_vec());
        // Every link is verified anew: a removed certificate must not come back by a ticket.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Asks for no certificate, and shows the CA's beside its own: a newcomer knows nothing but its fingerprint.
    fn strangers(&self, authority: &CertificateDer<'static>) -> Result<Arc<ServerConfig>, Error> {
        let mut chain = self.chain.clone();
        chain.push(authority.clone());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&self.files.cert, e))?
            .with_no_client_auth()
            .with_single_cert(chain, self.key.clone_key())
            .map_err(|e| bad(&self.files.key, e))?;
        config.alpn_protocols = protocol::offer(JOIN, JOIN_VERSIONS);
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn client(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&self.files.cert, e))?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| bad(&self.files.key, e))?;
        config.alpn_protocols = protocol::offer(protocol.as_str(), self.spoken[protocol.index()]);
        Ok(Arc::new(config))
    }
}

/// The one of the CA's certificates with which the node's stands.
fn own_authority(
    files: &Files,
    chain: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<CertificateDer<'static>, Error> {
    let mut found = Err(bad(&files.ca, "holds no certificate"));
    for authority in authorities {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).map_err(|e| bad(&files.ca, e))?;
        match check_as_server(files, chain, &Arc::new(roots), provider) {
            Ok(()) => return Ok(authority.clone()),
            Err(error) => found = Err(error),
        }
    }
    found
}

/// What the other side will check, as a client's certificate and as a server's.
fn check_chain(
    files: &Files,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    as_client: &dyn ClientCertVerifier,
) -> Result<(), Error> {
    let refused = |why: String| Error::NotOfThisCa { cert: files.cert.clone(), ca: files.ca.clone(), why };
    let (leaf, rest) = chain.split_first().ok_or_else(|| bad(&files.cert, "holds no certificate"))?;
    as_client.verify_client_cert(leaf, rest, UnixTime::now()).map_err(|e| refused(e.to_string()))?;
    check_as_server(files, chain, roots, provider)
}

fn check_as_server(
    files: &Files,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), Error> {
    let refused = |why: String| Error::NotOfThisCa { cert: files.cert.clone(), ca: files.ca.clone(), why };
    let (leaf, rest) = chain.split_first().ok_or_else(|| bad(&files.cert, "holds no certificate"))?;
    let as_server = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .build()
        .map_err(|e| bad(&files.ca, e))?;
    let name = ServerName::try_from(ca::CLUSTER_DNS).map_err(|e| refused(e.to_string()))?;
    as_server
        .verify_server_cert(leaf, rest, &name, &[], UnixTime::now())
        .map_err(|e| refused(e.to_string()))?;
    Ok(())
}

fn check_key(
    files: &Files,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), Error> {
    let key = provider.key_provider.load_private_key(key.clone_key()).map_err(|e| bad(&files.key, e))?;
    // Unlike the settings below, also refuses a key that does not say what its public half is.
    CertifiedKey::new(chain.to_vec(), key)
        .keys_match()
        .map_err(|_| Error::WrongKey { key: files.key.clone(), cert: files.cert.clone() })
}

fn bad(path: &Path, why: impl ToString) -> Error {
    Error::BadFile { path: path.to_owned(), why: why.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(|e| bad(path, e))
}

/// Answers its end.
fn check_validity(path: &Path, der: &[u8]) -> Result<SystemTime, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| bad(path, e))?;
    let validity = certificate.validity();
    if validity.is_valid() {
        return Ok(validity.not_after.to_datetime().into());
    }
    let (from, to) = (validity.not_before.to_string(), validity.not_after.to_string());
    Err(Error::NotValidNow { path: path.to_owned(), from, to })
}
