//! Just enough of a Rust lexer to tell code from comments, strings and tests.
//!
//! All functions keep every newline, so that a byte's line in the result is its line in the file.

/// The source with the inside of comments and of string and character literals blanked out.
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Code (as [`code_only`] gives it) with every item under `#[cfg(test)]` blanked out.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find(MARK) {
        let start = from + found;
        let end = start + MARK.len() + item_length(&out[start + MARK.len()..]);
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
        from = start + blank.len();
    }
    out
}

/// Line (from 1) of a byte offset.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Length in bytes of the item that starts here: up to the `;` that ends it or the `}` that closes its first `{`.
fn item_length(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins here.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, |c| c == '\n'),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if !continues_a_word(chars, at) => raw_string_end(chars, at + 1).unwrap_or(at),
        'b' if next == Some('r') && !continues_a_word(chars, at) => {
            raw_string_end(chars, at + 2).unwrap_or(at)
        }
        '\'' => char_end(chars, at).unwrap_or(at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&i| wanted(chars[i])).unwrap_or(chars.len())
}

fn continues_a_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `at` is behind the `r`. None when no raw string begins there (a raw identifier, or just a word).
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let quote = find(chars, at, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - at;
    let closes =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    let end = (quote + 1..chars.len()).find(|&i| closes(i)).map_or(chars.len(), |i| i + 1 + hashes);
    Some(end)
}

/// None when the quote starts a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match chars.get(at + 1)? {
        '\\' => Some((find(chars, at + 3, |c| c == '\'') + 1).min(chars.len())),
        _ if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(source: &str) -> String {
        code_only(source).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        assert_eq!(squeezed("a // tokio\nb"), "a b");
        assert_eq!(squeezed("a /* x /* tokio */ y */ b"), "a b");
        assert_eq!(squeezed(r#"f("tokio \" // no", g)"#), "f( , g)");
        assert_eq!(squeezed("f(r#\"a \" tokio\"#, br\"x\", b)"), "f( , , b)");
        assert_eq!(squeezed(r"m('\'', '{', '\u{7f}', b)"), "m( , , , b)");
    }

    #[test]
    fn words_lifetimes_and_raw_identifiers_stay() {
        assert_eq!(squeezed("fn f<'a>(bar: &'a str) {}"), "fn f<'a>(bar: &'a str) {}");
        assert_eq!(squeezed("let r#type = other;"), "let r#type = other;");
    }

    #[test]
    fn unfinished_literals_end_with_the_file() {
        for source in ["\"abc\\", "r#\"abc", "/* abc", "'\\"] {
            assert_eq!(squeezed(source), "", "{source}");
        }
    }

    #[test]
    fn lines_are_kept() {
        let source = "a\n\"x\ny\"\n/* \n */ tokio";
        let code = code_only(source);
        assert_eq!(line_of(&code, code.find("tokio").unwrap()), 5);
    }

    #[test]
    fn test_items_are_blanked_and_the_rest_is_kept() {
        let code = "use a;\n#[cfg(test)]\nmod tests { fn t() { tokio(); } }\nfn real() {}\n#[cfg(test)]\nuse tokio;\nb();";
        let kept = without_tests(code);
        assert!(!kept.contains("tokio"));
        assert!(kept.contains("use a;") && kept.contains("fn real() {}") && kept.contains("b();"));
        assert_eq!(kept.lines().count(), code.lines().count());
    }
}
