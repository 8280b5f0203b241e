//! Habits that CONTRIBUTING.md rules out and the compiler lets pass.

use crate::source::{code_only, line_of};
use crate::tree::File;
use crate::violation::Violation;
use regex::Regex;

const BANNED: &[(&str, &str)] = &[
    (
        r"\bcfg!\s*\(\s*(not\s*\(\s*)?test\b",
        "what runs in a test is what runs: timing comes from configuration",
    ),
    (
        r"\b(Other|Unknown|Misc)\s*\(\s*String\s*\)",
        "an error says what it is: give this one a variant of its own",
    ),
];

/// Code uses none of the banned habits.
pub fn habits(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let mut found = Vec::new();
    for (pattern, why) in BANNED {
        let pattern = Regex::new(pattern).expect("the patterns of this file are tested");
        for m in pattern.find_iter(&code) {
            found.push(Violation::new(
                &file.path,
                line_of(&code, m.start()),
                format!("`{}`: {why}", m.as_str()),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_habits_are_found() {
        for code in
            ["let wait = if cfg!(test) { 1 } else { 60 };", "cfg!(not(test))", "enum E { Other(String) }"]
        {
            assert_eq!(habits(&File::sample("actors/src/a.rs", code)).len(), 1, "{code}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_fine() {
        let code = "#[cfg(test)]\nmod tests {}\n// Other(String)\nenum Value { Text(String) }";
        assert_eq!(habits(&File::sample("actors/src/a.rs", code)), []);
    }
}
