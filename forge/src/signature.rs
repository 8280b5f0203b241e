//! Signatures of webhooks: HMAC-SHA256 over the raw bytes, compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Forge, Headers, Rejected};

/// How far a signed time may be from ours, in seconds, as Standard Webhooks recommends.
const TOLERANCE_SECONDS: u64 = 300;

pub(crate) fn check(
    forge: Forge,
    headers: &dyn Headers,
    body: &[u8],
    secret: &str,
    now: u64,
) -> Result<(), Rejected> {
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

/// Standard Webhooks: `v1,<base64>` over `id.timestamp.body`, one or more divided by spaces.
fn check_standard(headers: &dyn Headers, body: &[u8], secret: &str, now: u64) -> Result<(), Rejected> {
    let id = headers.get("webhook-id").ok_or(missing("webhook-id is missing"))?;
    let timestamp = headers.get("webhook-timestamp").ok_or(missing("webhook-timestamp is missing"))?;
    let given = headers.get("webhook-signature").ok_or(missing("webhook-signature is missing"))?;
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|_| missing("the secret after whsec_ is not base64"))?
        }
        None => secret.as_bytes().to_vec(),
    };
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
