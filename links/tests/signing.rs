//! What the CA signs for a machine that joins: its key under the name that the cluster gives it, and nothing that the
//! request asks for beside.

use std::fs;
use std::path::Path;

use links::{Error, Identity, PeerName, ca};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn name(text: &str) -> PeerName {
    text.parse().expect("a good name")
}

fn signer(dir: &Path) -> Result<ca::Signer> {
    if !dir.exists() {
        ca::init(dir)?;
    }
    Ok(ca::Signer::load(&dir.join("ca.pem"), &dir.join("ca-key.pem"))?)
}

/// A request with these parameters, and its key.
fn csr(params: &CertificateParams) -> Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    Ok((params.serialize_request(&key)?.pem()?, key))
}

#[test]
fn a_request_becomes_a_certificate_that_a_node_can_use() -> Result {
    let dir = tempfile::tempdir()?;
    let signer = signer(&dir.path().join("ca"))?;
    let request = ca::request(&name("a"))?;
    assert!(!format!("{request:?}").contains("PRIVATE"));
    let certificate = signer.sign(&request.csr_pem, &name("a"), 30)?;
    let out = dir.path().join("node");
    let files = ca::install(&out, &name("a"), &request.key_pem, &certificate, signer.bundle())?;
    let identity = Identity::load(files.clone())?;
    assert_eq!(*identity.name(), name("a"));
    assert_eq!(identity.ca_fingerprint(), signer.fingerprint());
    let ca_der = CertificateDer::from_pem_file(dir.path().join("ca/ca.pem"))?;
    assert_eq!(ca::fingerprint(&ca_der), signer.fingerprint());
    // A key is never written over.
    let again = ca::install(&out, &name("a"), "another key", &certificate, signer.bundle());
    assert!(matches!(again, Err(Error::Exists { .. })));
    assert_eq!(fs::read_to_string(&files.key)?, request.key_pem);
    Ok(())
}

#[test]
fn a_requester_chooses_nothing_but_its_key() -> Result {
    let dir = tempfile::tempdir()?;
    let signer = signer(&dir.path().join("ca"))?;
    let mut greedy = CertificateParams::new(vec![
        "leader.node.troupe".to_owned(),
        "cluster.troupe".to_owned(),
        "*.troupe".to_owned(),
    ])?;
    greedy.distinguished_name.push(DnType::CommonName, "leader");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let (request, key) = csr(&greedy)?;
    let der = CertificateDer::from_pem_slice(signer.sign(&request, &name("a"), 30)?.as_bytes())?;
    let (_, made) = X509Certificate::from_der(&der)?;
    let names = made.subject_alternative_name()?.ok_or("no names")?;
    assert_eq!(
        names.value.general_names,
        [GeneralName::DNSName("a.node.troupe"), GeneralName::DNSName("cluster.troupe")]
    );
    let subject: Vec<_> = made.subject().iter_common_name().map(|cn| cn.as_str()).collect();
    assert_eq!(subject, [Ok("a")]);
    assert!(!made.is_ca());
    assert!(made.key_usage()?.is_some_and(|u| u.value.digital_signature() && !u.value.key_cert_sign()));
    let usages = made.extended_key_usage()?.ok_or("no usages")?.value;
    assert!(usages.client_auth && usages.server_auth && !usages.code_signing && !usages.any);
    assert_eq!(made.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    Ok(())
}

#[test]
fn what_is_no_honest_request_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let signer = signer(&dir.path().join("ca"))?;
    let good = ca::request(&name("a"))?.csr_pem;
    // The last bytes are the signature's: who sends it does not have the key.
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes())?;
    let mut forged = der.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = pem("CERTIFICATE REQUEST", &forged);
    let mut unknown = CertificateParams::new(Vec::new())?;
    unknown.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0])];
    let cases = [
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        ("a certificate", fs::read_to_string(dir.path().join("ca/ca.pem"))?),
        ("garbage", pem("CERTIFICATE REQUEST", b"garbage")),
        ("not signed with its key", forged),
        ("an extension that nobody knows", csr(&unknown)?.0),
        ("too large", format!("{good}{}", "\n".repeat(ca::MAX_REQUEST_BYTES))),
    ];
    for (what, request) in cases {
        let refused = signer.sign(&request, &name("a"), 30);
        assert!(matches!(refused, Err(Error::Request { .. })), "{what}: {refused:?}");
    }
    Ok(())
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let byte = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= three.len() { DIGITS[index] as char } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn nothing_is_signed_for_longer_than_the_ca_lives() -> Result {
    let dir = tempfile::tempdir()?;
    let signer = signer(&dir.path().join("ca"))?;
    let ends = |pem: &[u8]| -> Result<i64> {
        let der = CertificateDer::from_pem_slice(pem)?;
        Ok(X509Certificate::from_der(&der)?.1.validity().not_after.timestamp())
    };
    let of_ca = ends(&fs::read(dir.path().join("ca/ca.pem"))?)?;
    let request = ca::request(&name("a"))?.csr_pem;
    assert!(ends(signer.sign(&request, &name("a"), 30)?.as_bytes())? < of_ca);
    assert_eq!(ends(signer.sign(&request, &name("a"), 36_500)?.as_bytes())?, of_ca);
    Ok(())
}

#[test]
fn of_several_certificates_the_one_of_the_key_signs_and_without_one_none() -> Result {
    let dir = tempfile::tempdir()?;
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let (of_old, of_new) = (signer(&old)?, signer(&new)?);
    let both = format!("{}{}", of_old.bundle(), of_new.bundle());
    let bundle = dir.path().join("both.pem");
    fs::write(&bundle, &both)?;
    for (ca_dir, alone) in [(&old, &of_old), (&new, &of_new)] {
        let signer = ca::Signer::load(&bundle, &ca_dir.join("ca-key.pem"))?;
        assert_eq!(signer.fingerprint(), alone.fingerprint());
        assert_eq!(signer.bundle(), both);
        // It stands with the CA of the key alone.
        let request = ca::request(&name("a"))?;
        let out = tempfile::tempdir()?;
        let certificate = signer.sign(&request.csr_pem, &name("a"), 30)?;
        let files = ca::install(out.path(), &name("a"), &request.key_pem, &certificate, alone.bundle())?;
        assert_eq!(Identity::load(files)?.ca_fingerprint(), alone.fingerprint());
    }
    let strange = ca::Signer::load(&old.join("ca.pem"), &new.join("ca-key.pem"));
    assert!(matches!(strange, Err(Error::WrongKey { .. })), "{strange:?}");
    fs::write(&bundle, "nothing")?;
    let empty = ca::Signer::load(&bundle, &new.join("ca-key.pem"));
    assert!(matches!(empty, Err(Error::WrongKey { .. })), "{empty:?}");
    let no_key = ca::Signer::load(&new.join("ca.pem"), &new.join("ca.pem"));
    assert!(matches!(no_key, Err(Error::BadFile { .. })), "{no_key:?}");
    Ok(())
}
