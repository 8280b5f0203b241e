//! Every module says what it is for, and none grows past what one head can hold.

use crate::source::{code_only, without_tests};
use crate::tree::File;
use crate::violation::Violation;

/// Lines of code a source file may have: blank lines, comments and inline tests do not count.
pub const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason. Empty is the aim.
const LONGER: &[(&str, &str)] = &[];

/// A Rust file begins with `//!`.
pub fn head(file: &File) -> Vec<Violation> {
    if !file.is_rust() || file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Violation::new(
        &file.path,
        1,
        "does not begin with `//!`: say what the module is for, and what it must not know",
    )]
}

/// A file under some crate's `src` has at most [`MAX_LINES`] lines of code.
pub fn size(file: &File) -> Vec<Violation> {
    let is_source = file.is_rust() && file.path.contains("/src/") && !file.is_test_code();
    if !is_source || LONGER.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    let lines = without_tests(&code_only(&file.text)).lines().filter(|l| !l.trim().is_empty()).count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    let what = format!(
        "{lines} lines of code, at most {MAX_LINES}: a second idea has moved in, give it a file of its own"
    );
    vec![Violation::new(&file.path, 0, what)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_head_is_found() {
        assert_eq!(head(&File::sample("domain/src/a.rs", "use b;\n")).len(), 1);
        assert_eq!(head(&File::sample("domain/src/a.rs", "\n//! Late.\n")).len(), 1);
        assert_eq!(head(&File::sample("domain/src/a.rs", "")).len(), 1);
        assert!(head(&File::sample("domain/src/a.rs", "//! Queues.\n")).is_empty());
        assert!(head(&File::sample("docs/a.md", "text")).is_empty());
    }

    #[test]
    fn a_long_file_is_found_and_only_code_counts() {
        let code = "a();\n".repeat(MAX_LINES);
        let fine = format!("//! X.\n\n{code}// more\n#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert!(size(&File::sample("domain/src/a.rs", &fine)).is_empty());
        let long = format!("{code}b();\n");
        assert_eq!(size(&File::sample("domain/src/a.rs", &long)).len(), 1);
        assert!(size(&File::sample("domain/tests/a.rs", &long)).is_empty());
    }
}
