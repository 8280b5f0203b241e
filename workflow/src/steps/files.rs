//! What a step writes into `GITHUB_OUTPUT`, `GITHUB_ENV`, `GITHUB_STATE` and `GITHUB_PATH`. Rules: GitHub, "Environment files";
//! actions/runner `src/Runner.Worker/FileCommandManager.cs`.
//!
//! Must not know: how the bytes come here.

/// Names and values: `NAME=value`, or `NAME<<DELIMITER`, lines, `DELIMITER`. Later ones win.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn pairs(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    let mut found = Vec::new();
    while let Some((at, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let bad = |what: &str| {
            let shown: String = line.chars().take(60).collect();
            format!("line {}: {what}: {shown:?}", at + 1)
        };
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        let (name, value) = match (equals, heredoc) {
            (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
                (&line[..equals], line[equals + 1..].to_owned())
            }
            (_, Some(heredoc)) => {
                let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
                if delimiter.is_empty() {
                    return Err(bad("a delimiter is missing behind `<<`"));
                }
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some((_, line)) if line == delimiter => break,
                        Some((_, line)) => value.push(line),
                        None => return Err(bad("the delimiter never comes")),
                    }
                }
                (name, value.join("\n"))
            }
            _ => return Err(bad("neither `NAME=value` nor `NAME<<DELIMITER`")),
        };
        if name.is_empty() {
            return Err(bad("a name is missing"));
        }
        found.push((name.to_owned(), value));
    }
    Ok(found)
}

/// Directories for the PATH, a line each.
pub(super) fn paths(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(|line| line.trim_start_matches('\u{feff}'))
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_what_is_neither_is_refused() {
        let ok = |text: &str, wanted: &[(&str, &str)]| {
            let wanted: Vec<_> = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(pairs(text.as_bytes()), Ok(wanted), "{text:?}");
        };
        ok("", &[]);
        ok("a=1\r\nb=x=y\n\nc=\n", &[("a", "1"), ("b", "x=y"), ("c", "")]);
        ok("a<<EOF\none\n\ntwo\nEOF\nb=2", &[("a", "one\n\ntwo"), ("b", "2")]);
        ok("a=x<<y\nb<<E=F\nv\nE=F\n", &[("a", "x<<y"), ("b", "v")]);
        ok("a<<EOF\nEOF\n", &[("a", "")]);
        for (bad, word) in [
            ("word", "line 1"),
            ("ok=1\n=x", "line 2"),
            ("a<<\nb", "delimiter"),
            ("a<<EOF\nb\n EOF", "never comes"),
            ("<<EOF\nEOF", "name"),
        ] {
            let why = pairs(bad.as_bytes()).unwrap_err();
            assert!(why.contains(word), "{bad:?}: {why}");
        }
        assert_eq!(paths(b"/a b\n\n/c\n"), ["/a b", "/c"]);
    }
}
