//! What runs a script. Rules: GitHub, "Workflow syntax", `jobs.<job_id>.steps[*].shell`.

/// Program and arguments for a shell, with `{0}` for the script's file. Nothing for the default one: whoever runs it looks
/// which there is.
///
/// # Errors
/// What is wrong with a shell of one's own, in words.
pub(super) fn argv(shell: &str) -> Result<Vec<String>, String> {
    let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect());
    match shell.trim() {
        "" => words(&[]),
        "bash" => words(&["bash", "--noprofile", "--norc", "-eo", "pipefail", "{0}"]),
        "sh" => words(&["sh", "-e", "{0}"]),
        "python" => words(&["python", "{0}"]),
        "pwsh" => words(&["pwsh", "-command", ". '{0}'"]),
        own if own.contains("{0}") => split(own),
        other => Err(format!(
            "{other:?} is no shell: allowed are bash, sh, python, pwsh, and a command with {{0}} where the script's file stands"
        )),
    }
}

/// At white space, but not within double quotes.
fn split(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in command.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            space if space.is_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quoted { Err(format!("a quote is not closed in {command:?}")) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_have_githubs_flags() {
        for (shell, wanted) in [
            ("", ""),
            ("bash", "bash|--noprofile|--norc|-eo|pipefail|{0}"),
            ("sh", "sh|-e|{0}"),
            ("python", "python|{0}"),
            ("perl -w {0}", "perl|-w|{0}"),
            ("a \"b c\"  {0} \"\"", "a|b c|{0}|"),
        ] {
            assert_eq!(argv(shell).map(|words| words.join("|")), Ok(wanted.to_owned()), "{shell}");
        }
        assert!(argv("perl").is_err_and(|why| why.contains("{0}")));
        assert!(argv("a \" {0}").is_err());
    }
}
