//! A job's `x-troupe`: what it asks of Troupe that GitHub's language has no words for.
//!
//! Must not know: what the planner makes of a priority, how artifacts are collected (actors).

use domain::{Resources, Retry, limits};
use globset::GlobBuilder;

use super::fields::{Fields, boolean, number, text, texts};
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};
use crate::yaml::Node;

/// Attempts of a job that does not say how many.
const ATTEMPTS: u16 = 3;
/// Most patterns of a job.
const MAX_PATTERNS: usize = 64;
/// Most bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 1024;
/// Thousandths of a cpu that a job may ask for.
const CPU_MILLIS: std::ops::RangeInclusive<u32> = 100..=256_000;
/// MiB of memory that a job may ask for. Less than the least holds no shell, the most is 4 TiB.
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 16..=4 * 1024 * 1024;

/// What `x-troupe` says; the defaults are what a job without it gets.
#[derive(Debug)]
pub(crate) struct Extension {
    pub artifacts: Vec<String>,
    pub priority: i8,
    pub resources: Resources,
    pub retry: Retry,
    pub spread: bool,
}

impl Default for Extension {
    fn default() -> Self {
        Self {
            artifacts: Vec::new(),
            priority: 0,
            resources: Resources { cpu_millis: 1000, memory_mib: 1024 },
            retry: Retry::of_losses(ATTEMPTS),
            spread: false,
        }
    }
}

pub(crate) fn extension(node: &Node, c: &mut Complaints) -> Extension {
    let mut read = Extension::default();
    let Some(mut fields) = Fields::of(node, "x-troupe", c) else { return read };
    if let Some(node) = fields.take("artifacts") {
        read.artifacts = artifacts(node, c);
    }
    if let Some(priority) =
        fields.take("priority").and_then(|node| number(node, "x-troupe.priority", -100, 100, c))
    {
        read.priority = priority;
    }
    if let Some(node) = fields.take("resources") {
        read.resources = resources(node, c, read.resources);
    }
    if let Some(node) = fields.take("retry") {
        read.retry = retry(node, c);
    }
    if let Some(spread) = fields.take("spread").and_then(|node| boolean(node, "x-troupe.spread", c)) {
        read.spread = spread;
    }
    fields.rest(&["artifacts", "priority", "resources", "retry", "spread"], c);
    read
}

/// Looks at patterns of files to keep, as a job of a workflow or one by itself names them.
///
/// # Errors
/// In words: which is refused and what is allowed.
pub fn check_artifacts(patterns: &[String]) -> Result<(), String> {
    if patterns.len() > MAX_PATTERNS {
        return Err(format!("{} patterns, the limit is {MAX_PATTERNS}", patterns.len()));
    }
    patterns.iter().try_for_each(|pattern| match refused(pattern) {
        Some(why) => Err(format!("{:?}: {why}", cut(pattern))),
        None => Ok(()),
    })
}

fn artifacts(node: &Node, c: &mut Complaints) -> Vec<String> {
    let patterns = texts(node, "x-troupe.artifacts", c);
    if patterns.len() > MAX_PATTERNS {
        c.unsupported(
            node.at,
            format!("{} patterns in x-troupe.artifacts, the limit is {MAX_PATTERNS}", patterns.len()),
        );
        return Vec::new();
    }
    patterns.into_iter().filter_map(|(at, pattern)| artifact(pattern, at, c)).collect()
}

fn artifact(pattern: String, at: At, c: &mut Complaints) -> Option<String> {
    let Some(why) = refused(&pattern) else { return Some(pattern) };
    c.unsupported(at, format!("x-troupe.artifacts has {:?}: {why}", cut(&pattern)));
    None
}

/// What is wrong with a pattern, if anything: it is to be a glob that can name something in the workspace.
fn refused(pattern: &str) -> Option<String> {
    let below = pattern.trim_start_matches("./").trim_end_matches('/');
    // What decodes percent signs must not find another place than what does not.
    let decoded = below.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    // `!` would be taken for the first letter of a name.
    Some(if pattern.len() > MAX_PATTERN_BYTES {
        format!("at most {MAX_PATTERN_BYTES} bytes are allowed")
    } else if pattern.starts_with('/') {
        "expected a path or glob relative to the workspace".to_owned()
    } else if pattern.starts_with('!') {
        "patterns that take out again are not supported".to_owned()
    } else if pattern.contains(char::is_control) {
        "control characters are not allowed".to_owned()
    } else if decoded.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "expected parts divided by /, none of them empty, . or ..; ** is everything".to_owned()
    } else if let Err(error) = GlobBuilder::new(below).literal_separator(true).build() {
        format!("not a glob: {}", error.kind())
    } else {
        return None;
    })
}

/// What is asked for is asked for every outcome, unless those are named.
fn retry(node: &Node, c: &mut Complaints) -> Retry {
    let mut read = Retry { failed: true, timed_out: true, ..Retry::of_losses(ATTEMPTS) };
    let Some(mut fields) = Fields::of(node, "x-troupe.retry", c) else { return read };
    if let Some(node) = fields.take("attempts") {
        let attempts = number(node, "x-troupe.retry.attempts", 1, limits::MAX_ATTEMPTS, c);
        read.attempts = attempts.unwrap_or(read.attempts);
    }
    if let Some(node) = fields.take("backoff") {
        let expected = "seconds, or a number and s, m or h, as 30s or 5m, up to 1h";
        let backoff = amount(node, "x-troupe.retry.backoff", expected, c, |text| {
            span(text).filter(|seconds| *seconds <= limits::MAX_BACKOFF_SECONDS)
        });
        read.backoff_seconds = backoff.unwrap_or(read.backoff_seconds);
    }
    if let Some(node) = fields.take("on") {
        (read.failed, read.timed_out, read.lost) = (false, false, false);
        for (at, outcome) in texts(node, "x-troupe.retry.on", c) {
            match outcome.as_str() {
                "failed" => read.failed = true,
                "timed_out" => read.timed_out = true,
                "lost" => read.lost = true,
                other => {
                    let found = cut(other);
                    let allowed = "failed, timed_out, lost";
                    c.unsupported(at, format!("x-troupe.retry.on has {found:?}. Allowed: {allowed}"));
                }
            }
        }
    }
    fields.rest(&["attempts", "backoff", "on"], c);
    read
}

fn resources(node: &Node, c: &mut Complaints, outer: Resources) -> Resources {
    let mut read = outer;
    let Some(mut fields) = Fields::of(node, "x-troupe.resources", c) else { return read };
    if let Some(node) = fields.take("cpus") {
        let expected = "a number from 0.1 to 256 with at most three decimals, as 2 or 0.5";
        let wanted = amount(node, "x-troupe.resources.cpus", expected, c, |text| {
            millis(text).filter(|millis| CPU_MILLIS.contains(millis))
        });
        read.cpu_millis = wanted.unwrap_or(read.cpu_millis);
    }
    if let Some(node) = fields.take("memory") {
        let expected = "a whole number of MiB, or of the unit behind it as 512Mi or 2Gi, from 16Mi to 4096Gi";
        let wanted = amount(node, "x-troupe.resources.memory", expected, c, |text| {
            mebibytes(text).filter(|mib| MEMORY_MIB.contains(mib))
        });
        read.memory_mib = wanted.unwrap_or(read.memory_mib);
    }
    fields.rest(&["cpus", "memory"], c);
    read
}

fn amount(
    node: &Node,
    of: &str,
    expected: &str,
    c: &mut Complaints,
    parse: impl Fn(&str) -> Option<u32>,
) -> Option<u32> {
    let text = text(node, of, c)?;
    let amount = parse(&text);
    if amount.is_none() {
        c.unsupported(node.at, format!("{of} is {:?}, expected {expected}", cut(&text)));
    }
    amount
}

/// A decimal number as thousandths, exactly: what is written is what is asked for.
fn millis(text: &str) -> Option<u32> {
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) => (whole, decimals),
        None => (text, "0"),
    };
    if !(1..=3).contains(&decimals.len()) {
        return None;
    }
    let scale = 10_u32.pow(3 - decimals.len() as u32);
    digits(whole)?.checked_mul(1000)?.checked_add(digits(decimals)? * scale)
}

/// A span of time in seconds.
fn span(text: &str) -> Option<u32> {
    let unit = [("s", 1), ("m", 60), ("h", 3600)].into_iter();
    let with_unit = unit.filter_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds))).next();
    let (number, seconds) = with_unit.unwrap_or((text, 1));
    digits(number)?.checked_mul(seconds)
}

fn mebibytes(text: &str) -> Option<u32> {
    let (number, unit) = match (text.strip_suffix("Mi"), text.strip_suffix("Gi")) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 1024),
        _ => (text, 1),
    };
    digits(number)?.checked_mul(unit)
}

/// Digits only: no sign, no spaces.
fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, wanted) in [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("1.25", Some(1250)),
            ("0.001", Some(1)),
            ("256.0", Some(256_000)),
            ("4294967", Some(4_294_967_000)),
            ("4294968", None),
            ("99999999999", None),
            ("0.0001", None),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1,5", None),
            ("1.-5", None),
            ("٣", None),
            ("", None),
        ] {
            assert_eq!(millis(text), wanted, "{text:?}");
        }
        for (text, wanted) in [
            ("512", Some(512)),
            ("512Mi", Some(512)),
            ("2Gi", Some(2048)),
            ("4194304Gi", None),
            ("1.5Gi", None),
            ("2 Gi", None),
            ("2G", None),
            ("2GiB", None),
            ("MiGi", None),
            ("Gi", None),
            ("-1", None),
        ] {
            assert_eq!(mebibytes(text), wanted, "{text:?}");
        }
        for (text, wanted) in [
            ("30", Some(30)),
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("1h", Some(3600)),
            ("1.5m", None),
            ("1 m", None),
            ("m", None),
            ("1d", None),
            ("-1s", None),
            ("2000000h", None),
        ] {
            assert_eq!(span(text), wanted, "{text:?}");
        }
    }
}
