//! The cluster's own certificate authority: a key and a certificate in a directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::{Error, Files, PeerName};

/// A DNS name that every node's certificate carries, so that a seed can be verified before its name is known.
pub(crate) const CLUSTER_DNS: &str = "cluster.troupe";
const CA_DAYS: i64 = 3650;

fn issue_error(error: rcgen::Error) -> Error {
    Error::Issue { why: error.to_string() }
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
/// [`Error::File`] when the CA cannot be read, [`Error::Exists`] when the node has a certificate or a key there; nothing
/// is written then.
pub fn issue(ca_dir: &Path, out: &Path, name: &PeerName, days: i64) -> Result<Files, Error> {
    let files = Files {
        ca: out.join("ca.pem"),
        cert: out.join(format!("{name}.pem")),
        key: out.join(format!("{name}-key.pem")),
    };
    none_exists([&files.cert, &files.key])?;
    let read = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|source| Error::File { action: "read", path, source })
    };
    let ca_pem = read(ca_dir.join("ca.pem"))?;
    let ca_key = KeyPair::from_pem(&read(ca_dir.join("ca-key.pem"))?).map_err(issue_error)?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).map_err(issue_error)?;
    let mut params = CertificateParams::new(vec![name.dns(), CLUSTER_DNS.to_owned()]).map_err(issue_error)?;
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, days);
    let key = KeyPair::generate().map_err(issue_error)?;
    let certificate = params.signed_by(&key, &issuer).map_err(issue_error)?;
    fs::create_dir_all(out).map_err(|source| Error::File { action: "make", path: out.to_owned(), source })?;
    write_new(&files.key, &key.serialize_pem(), 0o600)?;
    write_new(&files.cert, &certificate.pem(), 0o644)?;
    if !files.ca.exists() {
        write_new(&files.ca, &ca_pem, 0o644)?;
    }
    Ok(files)
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
