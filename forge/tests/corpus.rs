//! Payloads that this project did not write: normalised, or answered "no run", never refused, never a panic. Facts are
//! compared with the golden files that came with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forge::{Received, What, receive};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const SECRET: &str = "secret";

fn corpora() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let dir = std::env::var_os("TROUPE_CORPORA").map_or(beside, PathBuf::from);
    dir.is_dir().then_some(dir)
}

fn send(event: &str, body: &[u8]) -> Result<Received> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = BTreeMap::from([("x-github-event", event.to_owned()), ("x-hub-signature-256", signature)]);
    Ok(receive(&headers, body, SECRET, 0)?)
}

#[test]
fn every_github_payload_is_normalised_or_answered() -> Result {
    let Some(corpora) = corpora() else {
        println!("skipped: no corpora (TROUPE_CORPORA)");
        return Ok(());
    };
    let (mut events, mut no_runs) = (0, 0);
    for folder in fs::read_dir(corpora.join("github-payloads"))? {
        let folder = folder?;
        let event = folder.file_name().to_string_lossy().into_owned();
        for file in fs::read_dir(folder.path())? {
            let file = file?.path();
            let received = send(&event, &fs::read(&file)?).map_err(|e| format!("{}: {e}", file.display()))?;
            match received.what {
                What::Event(_) => events += 1,
                What::NoRun(_) => no_runs += 1,
            }
        }
    }
    println!("{events} events, {no_runs} without a run");
    assert!(events > 0 && no_runs > 0);
    Ok(())
}

#[test]
fn pushes_agree_with_the_golden_files() -> Result {
    let Some(corpora) = corpora() else {
        println!("skipped: no corpora (TROUPE_CORPORA)");
        return Ok(());
    };
    let mut agreed = 0;
    for forge in ["github", "gitea"] {
        for file in fs::read_dir(corpora.join("forge-webhooks").join(forge))? {
            let file = file?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("push") || !name.ends_with(".json") {
                continue;
            }
            let golden: serde_json::Value =
                serde_json::from_slice(&fs::read(format!("{}.golden", file.display()))?)?;
            let received = send("push", &fs::read(&file)?).map_err(|e| format!("{name}: {e}"))?;
            let What::Event(event) = &received.what else {
                return Err(format!("{name}: {received:?}").into());
            };
            let repo = &golden["Repo"];
            let full_name = format!("{}/{}", text(&repo["Namespace"]), text(&repo["Name"]));
            assert_eq!(event.git_ref, text(&golden["Ref"]), "{name}");
            assert_eq!(event.commit, text(&golden["Commit"]["Sha"]), "{name}");
            assert_eq!(event.sender, text(&golden["Sender"]["Login"]), "{name}");
            assert_eq!(received.repository, full_name, "{name}");
            agreed += 1;
        }
    }
    println!("{agreed} pushes agree");
    assert!(agreed > 0);
    Ok(())
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
