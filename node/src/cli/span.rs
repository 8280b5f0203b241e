//! Lengths of time as people type them: `90`, `90s`, `30m`, `12h`, `7d`.

/// Seconds.
///
/// # Errors
/// In words, for anything else.
pub fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err("seconds are expected, or a number with s, m, h or d".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(unit).ok_or_else(|| "that is too long".to_owned())
}

/// Seconds, for what takes no more than 32 bits of them.
///
/// # Errors
/// In words, for anything else.
pub fn short_seconds(text: &str) -> Result<u32, String> {
    seconds(text)?.try_into().map_err(|_| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_hours_and_days() {
        for (text, expected) in [("90", 90), ("0s", 0), ("2m", 120), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "h", "-1", "1.5h", "2w", "1h30m", "213503982334602d", "٣"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(short_seconds("50000d").is_err());
    }
}
