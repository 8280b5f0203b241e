//! What a forge's answer to a status means for whoever sends it.
//!
//! Must not know how often and how long is tried: that is the outbox's.

use std::time::UNIX_EPOCH;

use crate::body::shown;
use crate::{Forge, Headers};

/// The longest wait that is believed, in seconds: an hour is the longest window of any forge's limits.
const LONGEST_WAIT: u64 = 3600;
/// The wait after a limit that does not say how long, in seconds: GitHub asks for at least a minute.
const USUAL_WAIT: u64 = 60;

/// What is to be done after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the forge has it.
    Done,
    /// The same again.
    Again {
        /// Not before so many seconds are over, at most an hour; 0 where the forge does not say.
        after_seconds: u64,
    },
    /// Nothing: it will never be taken as it is.
    Never {
        /// What was answered, and what may help.
        why: String,
    },
}

/// What an answer to a status means: its code, its headers, its body (the beginning is enough), and the time in seconds since
/// 1970. No answer at all is like 503.
#[must_use]
pub fn next(forge: Forge, code: u16, headers: &dyn Headers, body: &[u8], now: u64) -> Next {
    let said = String::from_utf8_lossy(&body[..body.len().min(1000)]);
    let never =
        |what: &str| Next::Never { why: format!("{code} from {}: {what}: {}", forge.as_str(), line(&said)) };
    let wait = wait(headers, now);
    match code {
        200..=299 => Next::Done,
        // It is so already, or further: GitLab knows the order of states, and refuses to take a step back.
        400 if forge == Forge::GitLab && said.contains("Cannot transition status") => Next::Done,
        300..=399 => never("the API or the repository is elsewhere; correct its URL or name"),
        // GitHub's limits come as 403, too, and some without a header.
        403 if wait.is_some() || said.to_ascii_lowercase().contains("rate limit") => {
            Next::Again { after_seconds: wait.unwrap_or(USUAL_WAIT) }
        }
        429 => Next::Again { after_seconds: wait.unwrap_or(USUAL_WAIT) },
        401 => never("the token is not accepted"),
        403 => never("the token may not set statuses"),
        404 => never("there is no such repository or commit, or the token may not see it"),
        // Gitea has no other word for a commit that it does not have; most installations leave it out, and are asked again.
        500 if matches!(forge, Forge::Gitea | Forge::Forgejo)
            && said.contains("object does not exist [id: ") =>
        {
            never("it does not have the commit")
        }
        // Two at once, or too slow: nothing is wrong with it.
        408 | 409 | 425 | 500..=599 => Next::Again { after_seconds: wait.unwrap_or(0) },
        _ => never("it is not taken"),
    }
}

/// How long the forge asks to wait, in seconds.
fn wait(headers: &dyn Headers, now: u64) -> Option<u64> {
    let asked = headers.get("retry-after").and_then(|text| seconds_or_date(text, now));
    asked.or_else(|| used_up(headers, now)).map(|seconds| seconds.min(LONGEST_WAIT))
}

fn seconds_or_date(text: &str, now: u64) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(date.as_secs().saturating_sub(now))
    })
}

/// The end of a window of which nothing is left, in seconds since 1970: under GitHub's names and under GitLab's.
fn used_up(headers: &dyn Headers, now: u64) -> Option<u64> {
    [("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset")]
        .into_iter()
        .filter(|(left, _)| headers.get(left).is_some_and(|left| left.trim() == "0"))
        .find_map(|(_, end)| headers.get(end)?.trim().parse::<u64>().ok())
        .map(|end| end.saturating_sub(now))
}

/// What was said, on one line.
fn line(said: &str) -> String {
    let words: Vec<&str> =
        said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    shown(&words.join(" "))
}
