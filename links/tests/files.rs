//! Certificates and keys on disk: no half of a pair is left behind, and what other members would refuse is refused when it
//! is loaded, with the files' names.

use std::fs;
use std::path::Path;

use links::{Error, Files, Identity, PeerName, ca};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn name(text: &str) -> PeerName {
    text.parse().expect("a good name")
}

fn listing(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The error of a load, checked to name these files.
fn refused(files: &Files, named: &[&Path]) -> Result<Error> {
    let error = Identity::load(files.clone()).err().ok_or("loaded")?;
    for path in named {
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{path:?} is not in: {text}");
    }
    Ok(error)
}

#[test]
fn a_part_of_a_ca_or_of_a_pair_stops_everything_before_anything_is_written() -> Result {
    let dir = tempfile::tempdir()?;
    let ca_dir = dir.path().join("ca");
    ca::init(&ca_dir)?;
    for lone in ["ca.pem", "ca-key.pem"] {
        let half = dir.path().join(format!("half-{lone}"));
        fs::create_dir(&half)?;
        fs::write(half.join(lone), "mine")?;
        let error = ca::init(&half).err().ok_or("made")?;
        assert!(matches!(&error, Error::Exists { path } if *path == half.join(lone)), "{error}");
        assert_eq!(listing(&half)?, [lone]);
        assert_eq!(fs::read(half.join(lone))?, b"mine");
    }
    for lone in ["a.pem", "a-key.pem"] {
        let out = dir.path().join(format!("out-{lone}"));
        fs::create_dir(&out)?;
        fs::write(out.join(lone), "mine")?;
        let error = ca::issue(&ca_dir, &out, &name("a"), 30).err().ok_or("issued")?;
        assert!(matches!(&error, Error::Exists { path } if *path == out.join(lone)), "{error}");
        assert_eq!(listing(&out)?, [lone]);
    }
    // A link that leads nowhere is something too: writing through it would leave the directory.
    let linked = dir.path().join("linked");
    fs::create_dir(&linked)?;
    std::os::unix::fs::symlink(dir.path().join("nowhere"), linked.join("ca.pem"))?;
    assert!(matches!(ca::init(&linked), Err(Error::Exists { .. })));
    assert_eq!(listing(&linked)?, ["ca.pem"]);
    Ok(())
}

#[test]
fn a_certificate_of_another_ca_is_refused_with_both_files_named() -> Result {
    let dir = tempfile::tempdir()?;
    let (ours, other) = (dir.path().join("ca"), dir.path().join("other"));
    ca::init(&ours)?;
    ca::init(&other)?;
    let out = dir.path().join("node");
    Identity::load(ca::issue(&ours, &out, &name("a"), 30)?)?;
    // The directory has our ca.pem already, and keeps it.
    let files = ca::issue(&other, &out, &name("b"), 30)?;
    let error = refused(&files, &[&files.cert, &files.ca])?;
    assert!(matches!(error, Error::NotOfThisCa { .. }), "{error}");
    assert!(error.to_string().contains("troupe ca issue"), "{error}");
    fs::copy(other.join("ca.pem"), &files.ca)?;
    Identity::load(files)?;
    Ok(())
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_files_named() -> Result {
    let dir = tempfile::tempdir()?;
    let ca_dir = dir.path().join("ca");
    ca::init(&ca_dir)?;
    let mut files = ca::issue(&ca_dir, &dir.path().join("a"), &name("a"), 30)?;
    let right = std::mem::replace(&mut files.key, dir.path().join("a/other-key.pem"));
    fs::copy(ca_dir.join("ca-key.pem"), &files.key)?;
    let error = refused(&files, &[&files.key, &files.cert])?;
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    assert!(error.to_string().contains("troupe ca issue"), "{error}");
    files.key = right;
    Identity::load(files)?;
    Ok(())
}

/// Of the right CA, but made for clients only, and without the name that all members share.
#[test]
fn a_certificate_that_is_not_for_both_sides_of_a_link_is_refused() -> Result {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
    let dir = tempfile::tempdir()?;
    ca::init(dir.path())?;
    let ca_key = KeyPair::from_pem(&fs::read_to_string(dir.path().join("ca-key.pem"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(dir.path().join("ca.pem"))?, ca_key)?;
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    let both = vec![client.clone(), server.clone()];
    let shared = "cluster.troupe";
    for (names, usages, good) in [
        (vec!["a.node.troupe", shared], both.clone(), true),
        (vec!["a.node.troupe", shared], vec![client], false),
        (vec!["a.node.troupe", shared], vec![server], false),
        (vec!["a.node.troupe"], both, false),
    ] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
        params.extended_key_usages = usages.clone();
        let files = Files {
            ca: dir.path().join("ca.pem"),
            cert: dir.path().join("a.pem"),
            key: dir.path().join("a-key.pem"),
        };
        fs::write(&files.cert, params.signed_by(&key, &issuer)?.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        let loaded = Identity::load(files);
        assert_eq!(loaded.is_ok(), good, "{names:?} {usages:?}: {loaded:?}");
        assert!(good || matches!(loaded, Err(Error::NotOfThisCa { .. })), "{names:?} {usages:?}: {loaded:?}");
    }
    Ok(())
}
