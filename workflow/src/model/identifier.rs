//! The ids of jobs and steps, given and made up. Rules: actions/languageservices
//! `workflow-parser/src/model/converter/id-builder.ts`; without case, as GitHub's service takes them.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::cut;

/// Ids have fewer characters.
const MAX_LENGTH: usize = 100;

/// The ids of one scope.
#[derive(Debug, Default)]
pub(super) struct Ids {
    taken: HashSet<String>,
    /// How often each name was asked for, so that many steps alike cost no more than many that differ.
    made: HashMap<String, usize>,
}

impl Ids {
    /// Takes an id that the file gives; in words why not.
    pub(super) fn take(&mut self, id: &str) -> Result<(), String> {
        let shown = cut(id);
        if !is_fine(id) {
            return Err(format!(
                "The identifier '{shown}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. IDs must start with a letter or '_' and and must be less than {MAX_LENGTH} characters."
            ));
        }
        if id.starts_with("__") {
            return Err(format!("The identifier '{shown}' is invalid. IDs starting with '__' are reserved."));
        }
        if !self.taken.insert(id.to_ascii_lowercase()) {
            return Err(format!(
                "The identifier '{shown}' may not be used more than once within the same scope."
            ));
        }
        Ok(())
    }

    /// Makes an id up, `__` and this name, with a number behind it when there is one already.
    pub(super) fn make(&mut self, name: &str) -> String {
        let fine = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
        let original: String = "__".chars().chain(name.chars().map(fine)).collect();
        let mut count = self.made.get(&original).copied().unwrap_or_default();
        loop {
            count += 1;
            let suffix = if count == 1 { String::new() } else { format!("_{count}") };
            let head = &original[..original.len().min(MAX_LENGTH - suffix.len())];
            let candidate = format!("{head}{suffix}");
            if self.taken.insert(candidate.to_ascii_lowercase()) {
                self.made.insert(original, count);
                return candidate;
            }
        }
    }
}

fn is_fine(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && id.len() < MAX_LENGTH
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_are_taken_once_and_made_up_apart() {
        let mut ids = Ids::default();
        assert_eq!(ids.take("a-b_1"), Ok(()));
        assert!(ids.take("A-b_1").is_err() && ids.take("1a").is_err() && ids.take("").is_err());
        assert!(ids.take("__x").is_err_and(|why| why.contains("reserved")));
        assert!(ids.take(&"x".repeat(100)).is_err() && ids.take(&"x".repeat(99)).is_ok());
        assert_eq!(ids.make("run"), "__run");
        assert_eq!(ids.make("run"), "__run_2");
        assert_eq!(ids.make("actions/check out"), "__actions_check_out");
        let (first, second) = (ids.make(&"é".repeat(200)), ids.make(&"é".repeat(200)));
        assert_eq!((first.len(), second.len()), (100, 100));
        assert!(second.ends_with("_2"));
    }
}
