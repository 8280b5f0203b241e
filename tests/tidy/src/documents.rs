//! Documents lead somewhere: relative links and their anchors are alive, decisions are numbered once.

use crate::source::line_of;
use crate::tree::File;
use crate::violation::Violation;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

const DECISIONS: &str = "docs/adr/";

/// Relative links in Markdown lead to files and headings that exist. Links with a scheme are not looked at.
pub fn links(files: &[File]) -> Vec<Violation> {
    let known = paths_and_folders(files);
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        files.iter().filter(|f| is_markdown(f)).map(|f| (f.path.as_str(), anchors(&f.text))).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|f| is_markdown(f)) {
        for (line, target) in targets(&file.text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = match path {
                "" => Some(file.path.clone()),
                path => resolve(&file.path, path),
            };
            let Some(to) = to.filter(|to| known.contains(to.as_str())) else {
                found.push(Violation::new(
                    &file.path,
                    line,
                    format!("links to {target}, and there is no such file"),
                ));
                continue;
            };
            let dead = |headings: &BTreeSet<String>| !anchor.is_empty() && !headings.contains(anchor);
            if anchors.get(to.as_str()).is_some_and(dead) {
                found.push(Violation::new(
                    &file.path,
                    line,
                    format!("links to {target}, and {to} has no such heading"),
                ));
            }
        }
    }
    found
}

/// Every decision has a number of its own and a title, and one that is mentioned anywhere exists.
pub fn decisions(files: &[File]) -> Vec<Violation> {
    let name = Regex::new(r"^(\d{4})-[a-z0-9-]+\.md$").expect("a constant pattern");
    let mention = Regex::new(r"docs/adr/(\d{4})\b").expect("a constant pattern");
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for file in files {
        let Some(base) = file.path.strip_prefix(DECISIONS).filter(|base| *base != "README.md") else {
            continue;
        };
        let Some(number) = name.captures(base).and_then(|c| c.get(1)) else {
            found.push(Violation::new(&file.path, 0, "a decision is called NNNN-words-with-hyphens.md"));
            continue;
        };
        if let Some(other) = numbers.insert(number.as_str(), &file.path) {
            found.push(Violation::new(&file.path, 0, format!("{other} has the same number")));
        }
        if !file.text.starts_with("# ") {
            found.push(Violation::new(&file.path, 1, "a decision begins with its title"));
        }
    }
    for file in files {
        for mention in mention.captures_iter(&file.text).filter_map(|c| c.get(1)) {
            if !numbers.contains_key(mention.as_str()) {
                let what = format!("mentions decision {}, and there is none", mention.as_str());
                found.push(Violation::new(&file.path, line_of(&file.text, mention.start()), what));
            }
        }
    }
    found
}

/// A test that a document names, as `path/to/file.rs::name`, is there.
pub fn tests(files: &[File]) -> Vec<Violation> {
    let pattern = Regex::new(r"`([\w/.-]+\.rs)::(\w+)`").expect("a constant pattern");
    let texts: BTreeMap<&str, &str> = files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|f| is_markdown(f)) {
        for (named, [path, name]) in pattern.captures_iter(&file.text).map(|c| c.extract()) {
            let function = format!("fn {name}(");
            if !texts.get(path).is_some_and(|text| text.contains(&function)) {
                let at = file.text.find(named).unwrap_or(0);
                found.push(Violation::new(
                    &file.path,
                    line_of(&file.text, at),
                    format!("names {named}, and there is no such test"),
                ));
            }
        }
    }
    found
}

fn is_markdown(file: &File) -> bool {
    file.path.ends_with(".md")
}

fn paths_and_folders(files: &[File]) -> BTreeSet<&str> {
    let mut known = BTreeSet::from([""]);
    for file in files {
        known.insert(&file.path);
        known.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    known
}

/// Line and target of every relative link, in line or by reference, outside code.
fn targets(text: &str) -> Vec<(usize, String)> {
    let pattern = Regex::new(r#"\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^\s*\[[^\]]+\]:\s+(\S+)"#)
        .expect("a constant pattern");
    let scheme = Regex::new(r"^([a-z][a-z0-9+.-]*:|//)").expect("a constant pattern");
    let mut found = Vec::new();
    for (line, words) in prose(text) {
        for captures in pattern.captures_iter(&words) {
            let target = captures.get(1).or(captures.get(2)).map_or("", |m| m.as_str());
            if !scheme.is_match(target) {
                found.push((line, target.to_owned()));
            }
        }
    }
    found
}

/// Numbered lines of Markdown without fenced blocks, and without what stands between backticks.
fn prose(text: &str) -> Vec<(usize, String)> {
    let code = Regex::new("`[^`]*`").expect("a constant pattern");
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, code.replace_all(line, "`code`").into_owned()));
        }
    }
    lines
}

/// The anchors that forges give to the headings of this text.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect());
    }
    found
}

/// The path that a link in `from` leads to, from the root; None when it leads out of the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = match link.starts_with('/') {
        true => Vec::new(),
        false => from.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_links(text: &str) -> usize {
        let here = File::sample("docs/a.md", text);
        let other = File::sample("docs/adr/0001-x.md", "# 0001. What, why: `x`\n");
        links(&[here, other, File::sample("README.md", "# Hi\n")]).len()
    }

    #[test]
    fn dead_links_are_found() {
        for link in
            ["[a](b.md)", "[a](../../README.md)", "[a](../docs/c/)", "[a]: nowhere.md", "![i](i.png \"t\")"]
        {
            assert_eq!(dead_links(link), 1, "{link}");
        }
        assert_eq!(dead_links("[a](adr/0001-x.md#nothing)"), 1);
        assert_eq!(dead_links("[a](#nothing)\n# Some\n"), 1);
    }

    #[test]
    fn live_links_and_code_are_fine() {
        let fine = "# Here we go\n[a](../README.md) [b](adr/) [c](adr/0001-x.md#0001-what-why-x) [d](#here-we-go) \
                    [e](https://example.org/x.md) [f](mailto:a@b) `[g](h.md)`\n```\n[i](j.md)\n```\n";
        assert_eq!(dead_links(fine), 0);
    }

    #[test]
    fn tests_that_are_not_there_are_found() {
        let with = |named: &str| {
            let code = File::sample("a/tests/b.rs", "#[test]\nasync fn it_holds() {}\n");
            tests(&[File::sample("docs/a.md", &format!("x `{named}` y\n")), code]).len()
        };
        assert_eq!(with("a/tests/b.rs::it_holds"), 0);
        assert_eq!(with("a/tests/b.rs::it_hold"), 1);
        assert_eq!(with("a/tests/c.rs::it_holds"), 1);
    }

    #[test]
    fn decisions_are_numbered_once_and_named_right() {
        let found = |files: &[(&str, &str)]| {
            decisions(&files.iter().map(|(p, t)| File::sample(p, t)).collect::<Vec<_>>()).len()
        };
        assert_eq!(found(&[("docs/adr/0001-a.md", "# A"), ("docs/adr/0001-b.md", "# B")]), 1);
        assert_eq!(found(&[("docs/adr/first.md", "# A")]), 1);
        assert_eq!(found(&[("docs/adr/0001-a.md", "A")]), 1);
        assert_eq!(found(&[("a.rs", concat!("// see docs/", "adr/0999"))]), 1);
        assert_eq!(found(&[("docs/adr/0001-a.md", "# A"), ("a.rs", "// see docs/adr/0001")]), 0);
    }
}
