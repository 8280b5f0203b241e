//! The CA's key at work: it signs a requester's public key under a name that the signer's side gives.
//!
//! Whatever else a request asks for (names, usages, to be a CA itself) is not looked at: a requester chooses nothing but
//! its key.

use std::fmt;
use std::fs;
use std::path::Path;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CLUSTER_DNS, fingerprint, issue_error, set_validity};
use crate::{Error, PeerName};

/// No request for a certificate is larger, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Signs certificates of nodes.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The end of its validity: nothing that it signs is valid for longer.
    until: OffsetDateTime,
    bundle: String,
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the CA's certificate and its key. Of several certificates in the file (the CA is being changed for another),
    /// the one that the key belongs to signs.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::BadFile`], [`Error::WrongKey`] when the key belongs to none of the certificates,
    /// [`Error::NotValidNow`].
    pub fn load(ca: &Path, key: &Path) -> Result<Self, Error> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| Error::File {
                action: "read",
                path: path.to_owned(),
                source,
            })
        };
        let bad = |path: &Path, why: String| Error::BadFile { path: path.to_owned(), why };
        let bundle = read(ca)?;
        let pair = KeyPair::from_pem(&read(key)?).map_err(|e| bad(key, e.to_string()))?;
        let mut refused = Error::WrongKey { key: key.to_owned(), cert: ca.to_owned() };
        for der in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let der = der.map_err(|e| bad(ca, e.to_string()))?;
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| bad(ca, e.to_string()))?;
            if parsed.public_key().subject_public_key.data.as_ref() != pair.der_bytes() {
                continue;
            }
            let validity = parsed.validity();
            let until = validity.not_after.to_datetime();
            if !validity.is_valid() {
                let (from, to) = (validity.not_before.to_string(), validity.not_after.to_string());
                refused = Error::NotValidNow { path: ca.to_owned(), from, to };
                continue;
            }
            let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(issue_error)?;
            return Ok(Self { issuer, certificate: der, until, bundle });
        }
        Err(refused)
    }

    /// The fingerprint of the certificate that signs.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// All certificates of the CA (PEM), as a node needs them in its `ca.pem`.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// A certificate (PEM) for the key of a request, in the name of `expected`, for `days` from now but no longer than
    /// the CA's own. The request must prove that its sender has the key; nothing else in it counts.
    ///
    /// # Errors
    /// [`Error::Request`] for a request that is too large, is none, or is not signed with its key; [`Error::Issue`].
    pub fn sign(&self, csr_pem: &str, expected: &PeerName, days: i64) -> Result<String, Error> {
        let refused = |why: String| Error::Request { why };
        if csr_pem.len() > MAX_REQUEST_BYTES {
            let why = format!("it has {} bytes, the limit is {MAX_REQUEST_BYTES}", csr_pem.len());
            return Err(refused(why));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
            .map_err(|e| refused(e.to_string()))?;
        // Checks the request's signature, too.
        let asked =
            CertificateSigningRequestParams::from_der(&der).map_err(|e| refused(e.to_string()))?.public_key;
        let mut params =
            CertificateParams::new(vec![expected.dns(), CLUSTER_DNS.to_owned()]).map_err(issue_error)?;
        params.distinguished_name.push(DnType::CommonName, expected.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, days);
        params.not_after = params.not_after.min(self.until);
        let certificate = params.signed_by(&asked, &self.issuer).map_err(issue_error)?;
        Ok(certificate.pem())
    }
}
