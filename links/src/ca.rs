//! The cluster's own certificate authority: a key and a certificate in a directory, and what it signs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::{Error, Files, PeerName};

mod signer;

pub use signer::{MAX_REQUEST_BYTES, Signer};

/// A DNS name that every node's certificate carries, so that a seed can be verified before its name is known.
pub(crate) const CLUSTER_DNS: &str = "cluster.troupe";
const CA_DAYS: i64 = 3650;

fn issue_error(error: rcgen::Error) -> Error {
    Error::Issue { why: error.to_string() }
}

/// The SHA-256 of a certificate's DER: by it who joins knows the cluster's CA.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Makes a CA in `dir`: `ca.pem` and `ca-key.pem` (mode 0600), valid for ten years.
///
/// # Errors
/// [`Error::Exists`] when there is one already, or a part of one: a second CA would cut the cluster in two. Nothing is
/// written then.
pub fn init(dir: &Path) -> Result<(), Error> {
    let (certificate_path, key_path) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    none_exists([&certificate_path, &key_path])?;
    let key = KeyPair::generate().map_err(issue_error)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(issue_error)?;
    params.distinguished_name.push(DnType::CommonName, "Troupe cluster CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, CA_DAYS);
    let certificate = params.self_signed(&key).map_err(issue_error)?;
    fs::create_dir_all(dir).map_err(|source| Error::File { action: "make", path: dir.to_owned(), source })?;
    write_new(&key_path, &key.serialize_pem(), 0o600)?;
    write_new(&certificate_path, &certificate.pem(), 0o644)
}

/// Makes a node's key and certificate with the CA in `ca_dir`: `NAME.pem` and `NAME-key.pem` (mode 0600) in `out`, and a
/// copy of `ca.pem` where there is none. `days` may be negative, for tests of expiry.
///
/// # Errors
/// As [`Signer::load`] and [`install`]; nothing is written then.
pub fn issue(ca_dir: &Path, out: &Path, name: &PeerName, days: i64) -> Result<Files, Error> {
    let files = files(out, name);
    none_exists([&files.cert, &files.key])?;
    let signer = Signer::load(&ca_dir.join("ca.pem"), &ca_dir.join("ca-key.pem"))?;
    let request = request(name)?;
    let certificate = signer.sign(&request.csr_pem, name, days)?;
    install(out, name, &request.key_pem, &certificate, signer.bundle())
}

/// What a node that joins makes: the key stays with it, the request goes to the CA.
#[derive(Clone)]
pub struct Request {
    /// The private key (PKCS #8).
    pub key_pem: String,
    /// The certificate signing request for it.
    pub csr_pem: String,
}

/// Without the key.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("csr_pem", &self.csr_pem).finish_non_exhaustive()
    }
}

/// Makes a key, and a request for a certificate of `name` that proves who has it.
///
/// # Errors
/// [`Error::Issue`].
pub fn request(name: &PeerName) -> Result<Request, Error> {
    let key = KeyPair::generate().map_err(issue_error)?;
    let mut params = CertificateParams::new(vec![name.dns()]).map_err(issue_error)?;
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(issue_error)?;
    Ok(Request { key_pem: key.serialize_pem(), csr_pem: csr })
}

/// Writes a node's key (mode 0600), its certificate, and the CA's where there is none, to `out` with the names that
/// [`issue`] gives them.
///
/// # Errors
/// [`Error::Exists`] when the node has a certificate or a key there, and nothing is written; [`Error::File`].
pub fn install(
    out: &Path,
    name: &PeerName,
    key_pem: &str,
    certificate_pem: &str,
    ca_pem: &str,
) -> Result<Files, Error> {
    let files = files(out, name);
    none_exists([&files.cert, &files.key])?;
    fs::create_dir_all(out).map_err(|source| Error::File { action: "make", path: out.to_owned(), source })?;
    write_new(&files.key, key_pem, 0o600)?;
    write_new(&files.cert, certificate_pem, 0o644)?;
    if !files.ca.exists() {
        write_new(&files.ca, ca_pem, 0o644)?;
    }
    Ok(files)
}

fn files(out: &Path, name: &PeerName) -> Files {
    Files {
        ca: out.join("ca.pem"),
        cert: out.join(format!("{name}.pem")),
        key: out.join(format!("{name}-key.pem")),
    }
}

/// From a little before now, for clocks that are behind, to `days` from now.
fn set_validity(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_after = now + Duration::days(days);
    params.not_before = (now - Duration::hours(1)).min(params.not_after - Duration::hours(1));
}

/// Refuses before anything is written, so that no half of a pair is left behind. A dangling link counts as there.
fn none_exists(paths: [&Path; 2]) -> Result<(), Error> {
    for path in paths {
        match fs::symlink_metadata(path) {
            Ok(_) => return Err(Error::Exists { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::File { action: "look for", path: path.to_owned(), source }),
        }
    }
    Ok(())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                Error::Exists { path: path.to_owned() }
            } else {
                Error::File { action: "create", path: path.to_owned(), source }
            }
        })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
