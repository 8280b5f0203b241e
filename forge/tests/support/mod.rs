//! Webhooks as each forge sends and signs them.

#![allow(dead_code, clippy::expect_used, reason = "each test file uses a part of it; a panic is the failure")]

pub mod payloads;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forge::{Forge, Received, Rejected, receive};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const SECRET: &str = "a secret of the repository";
pub const NOW: u64 = 1_700_000_000;
pub const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

pub type Sent = BTreeMap<&'static str, String>;

pub fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Headers of Standard Webhooks.
pub fn standard(key: &[u8], body: &[u8]) -> Sent {
    let time = NOW.to_string();
    let signed = hmac(key, &[b"d-1.", time.as_bytes(), b".", body]);
    BTreeMap::from([
        ("webhook-id", "d-1".to_owned()),
        ("webhook-timestamp", time),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signed))),
    ])
}

/// All headers that a forge sends of an event, those among them that it took over from others.
pub fn headers(forge: Forge, event: &str, body: &[u8]) -> Sent {
    let hex = hex::encode(hmac(SECRET.as_bytes(), &[body]));
    let github = [
        ("x-github-event", event.to_owned()),
        ("x-github-delivery", "d-1".to_owned()),
        ("x-hub-signature-256", format!("sha256={hex}")),
    ];
    let gogs = [
        ("x-gogs-event", event.to_owned()),
        ("x-gogs-delivery", "d-1".to_owned()),
        ("x-gogs-signature", hex.clone()),
    ];
    let gitea = [
        ("x-gitea-event", event.to_owned()),
        ("x-gitea-delivery", "d-1".to_owned()),
        ("x-gitea-signature", hex.clone()),
    ];
    let forgejo = [
        ("x-forgejo-event", event.to_owned()),
        ("x-forgejo-delivery", "d-1".to_owned()),
        ("x-forgejo-signature", hex.clone()),
    ];
    let bitbucket = [("x-event-key", event.to_owned()), ("x-hub-signature", format!("sha256={hex}"))];
    match forge {
        Forge::GitHub => github.into(),
        Forge::Gogs => github[..2].iter().cloned().chain(gogs).collect(),
        Forge::Gitea => github.into_iter().chain(gogs).chain(gitea).collect(),
        Forge::Forgejo => github.into_iter().chain(gogs).chain(gitea).chain(forgejo).collect(),
        Forge::GitLab => BTreeMap::from([
            ("x-gitlab-event", event.to_owned()),
            ("idempotency-key", "d-1".to_owned()),
            ("x-gitlab-event-uuid", "e-1".to_owned()),
            ("x-gitlab-token", SECRET.to_owned()),
        ]),
        Forge::Bitbucket => bitbucket
            .into_iter()
            .chain([("x-hook-uuid", "h-1".to_owned()), ("x-request-uuid", "d-1".to_owned())])
            .collect(),
        Forge::BitbucketDataCenter => {
            bitbucket.into_iter().chain([("x-request-id", "d-1".to_owned())]).collect()
        }
        Forge::Generic => standard(SECRET.as_bytes(), body),
    }
}

/// A genuine webhook of the forge.
pub fn send(forge: Forge, event: &str, body: &[u8]) -> Result<Received, Rejected> {
    receive(&headers(forge, event, body), body, SECRET, NOW)
}
