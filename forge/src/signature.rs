//! Signatures of webhooks: HMAC-SHA256 over the raw bytes, or a token, compared in constant time.
//!
//! Must not know what the bytes say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Forge, Headers, Rejected};

/// How far a signed time may be from ours, in seconds, as Standard Webhooks recommends.
const TOLERANCE_SECONDS: u64 = 300;
/// How keys of Standard Webhooks begin.
const SIGNING: &str = "whsec_";

pub(crate) fn check(
    forge: Forge,
    headers: &dyn Headers,
    body: &[u8],
    secret: &str,
    now: u64,
) -> Result<(), Rejected> {
    if secret.is_empty() {
        return Err(missing("the repository has no secret to check it with"));
    }
    match forge {
        Forge::GitHub => {
            let given =
                headers.get("x-hub-signature-256").ok_or(missing("X-Hub-Signature-256 is missing"))?;
            let hex = given
                .strip_prefix("sha256=")
                .ok_or(missing("X-Hub-Signature-256 does not begin with sha256="))?;
            check_hex(hex, body, secret)
        }
        Forge::Gitea => check_hex(
            headers.get("x-gitea-signature").ok_or(missing("X-Gitea-Signature is missing"))?,
            body,
            secret,
        ),
        Forge::Forgejo => check_hex(
            headers.get("x-forgejo-signature").ok_or(missing("X-Forgejo-Signature is missing"))?,
            body,
            secret,
        ),
        Forge::Gogs => check_hex(
            headers.get("x-gogs-signature").ok_or(missing("X-Gogs-Signature is missing"))?,
            body,
            secret,
        ),
        // The secret says which of GitLab's two ways it is for: a signing token would lose its sense if whoever sees it
        // could also send it as a plain one.
        Forge::GitLab if secret.starts_with(SIGNING) => check_standard(headers, body, secret, now),
        Forge::GitLab => {
            check_token(headers.get("x-gitlab-token").ok_or(missing("X-Gitlab-Token is missing"))?, secret)
        }
        // The header that is SHA-1 elsewhere.
        Forge::Bitbucket | Forge::BitbucketDataCenter => {
            let given = headers.get("x-hub-signature").ok_or(missing("X-Hub-Signature is missing"))?;
            let hex = given
                .strip_prefix("sha256=")
                .ok_or(missing("X-Hub-Signature does not begin with sha256="))?;
            check_hex(hex, body, secret)
        }
        Forge::Generic => check_standard(headers, body, secret, now),
    }
}

fn missing(why: &'static str) -> Rejected {
    Rejected::Unauthorized { why }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<Hmac<Sha256>, Rejected> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|_| missing("the secret cannot be used as a key"))?;
    for part in parts {
        mac.update(part);
    }
    Ok(mac)
}

fn check_hex(given: &str, body: &[u8], secret: &str) -> Result<(), Rejected> {
    let given = hex::decode(given.trim()).map_err(|_| missing("it is not hexadecimal"))?;
    mac(secret.as_bytes(), &[body])?.verify_slice(&given).map_err(|_| missing("it does not match the body"))
}

/// A secret that is sent as it is. Digests of both are compared, so that neither its length nor its beginning shows in
/// the time.
fn check_token(given: &str, secret: &str) -> Result<(), Rejected> {
    let given = mac(secret.as_bytes(), &[given.as_bytes()])?.finalize().into_bytes();
    mac(secret.as_bytes(), &[secret.as_bytes()])?
        .verify_slice(&given)
        .map_err(|_| missing("X-Gitlab-Token is not the secret"))
}

/// Checks a secret that is to be used for webhooks: what begins as a signing key of Standard Webhooks must be one.
///
/// # Errors
/// What is expected.
pub fn check_secret(secret: &str) -> Result<(), &'static str> {
    signing_key(secret).map(drop)
}

fn signing_key(secret: &str) -> Result<Vec<u8>, &'static str> {
    match secret.strip_prefix(SIGNING) {
        Some(encoded) => match STANDARD.decode(encoded) {
            Ok(key) if !key.is_empty() => Ok(key),
            _ => Err("base64 is expected after whsec_"),
        },
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// The id of a message whose signature is over the id, too.
pub(crate) fn signed_id(forge: Forge, headers: &dyn Headers, secret: &str) -> Option<String> {
    let standard = forge == Forge::Generic || forge == Forge::GitLab && secret.starts_with(SIGNING);
    headers.get("webhook-id").filter(|_| standard).map(str::to_owned)
}

/// Standard Webhooks: `v1,<base64>` over `id.timestamp.body`, one or more divided by spaces.
fn check_standard(headers: &dyn Headers, body: &[u8], secret: &str, now: u64) -> Result<(), Rejected> {
    let id = headers.get("webhook-id").ok_or(missing("webhook-id is missing"))?;
    let timestamp = headers.get("webhook-timestamp").ok_or(missing("webhook-timestamp is missing"))?;
    let given = headers.get("webhook-signature").ok_or(missing("webhook-signature is missing"))?;
    let key = signing_key(secret).map_err(missing)?;
    let seconds: u64 = timestamp.parse().map_err(|_| missing("webhook-timestamp is not a number"))?;
    if seconds.abs_diff(now) > TOLERANCE_SECONDS {
        return Err(missing("webhook-timestamp is more than five minutes from this node's time"));
    }
    let right = mac(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])?;
    let matches = |one: &str| {
        let decoded = one.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
        decoded.is_some_and(|bytes| right.clone().verify_slice(&bytes).is_ok())
    };
    if given.split(' ').any(matches) { Ok(()) } else { Err(missing("no v1 signature matches the body")) }
}
