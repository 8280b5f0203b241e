//! Words that no tracked file may hold, whatever its language.
//!
//! The words are put together with `concat!`, so that this file does not hold them either.

use crate::source::line_of;
use crate::tree::File;
use crate::violation::Violation;
use regex::Regex;

/// Servers that hand out packages or images. Which one a machine uses is its own configuration, never ours.
const REGISTRIES: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("snapshot.", "debian.org"),
    concat!("archive.", "ubuntu.com"),
    concat!("pypi.", "org"),
    concat!("files.", "pythonhosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
    concat!("registry-1.", "docker.io"),
    concat!("index.", "docker.io"),
    concat!("auth.", "docker.io"),
];

/// Folders of the machine that somebody happened to work on.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Words for work that was put off, with the punctuation that makes them so.
const PUT_OFF: &str = concat!(r"\b(TO", r"DO|FIX", r"ME|XX", r"X)\b|\b(to", r"do|unimpl", r"emented)!");

/// No registry is named.
pub fn registries(file: &File) -> Vec<Violation> {
    let text = file.text.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in REGISTRIES {
        for (at, _) in text.match_indices(name) {
            let what =
                format!("names the registry {name}: which one is used is the machine's own configuration");
            found.push(Violation::new(&file.path, line_of(&text, at), what));
        }
    }
    found
}

/// No path of a particular machine is named.
pub fn machine_paths(file: &File) -> Vec<Violation> {
    let text = &file.text;
    let mut found = Vec::new();
    for path in MACHINE_PATHS {
        for (at, _) in text.match_indices(path) {
            // In the middle of a longer path it is just a folder of that name.
            let inside = text[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.$}>*~)".contains(c));
            if !inside {
                let what = format!("names {path}, a path of one machine: make it relative, or a parameter");
                found.push(Violation::new(&file.path, line_of(text, at), what));
            }
        }
    }
    found
}

/// No work is put off in a comment or a macro: what is not done is an issue, not a remark.
pub fn put_off(file: &File) -> Vec<Violation> {
    let pattern = Regex::new(PUT_OFF).expect("the pattern of this file is tested");
    let violation = |m: regex::Match<'_>| {
        let what = format!("says {}: do it, or write it down where work is planned", m.as_str());
        Violation::new(&file.path, line_of(&file.text, m.start()), what)
    };
    pattern.find_iter(&file.text).map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registry_is_found() {
        for name in REGISTRIES {
            let file = File::sample("scripts/a.sh", &format!("x\ncurl https://{}/y\n", name.to_uppercase()));
            assert_eq!(registries(&file).iter().map(|v| v.line).collect::<Vec<_>>(), [2], "{name}");
        }
        assert!(registries(&File::sample("a.sh", "apt-get install docker.io")).is_empty());
    }

    #[test]
    fn a_machine_path_is_found_and_a_folder_of_that_name_is_not() {
        let in_text = |prefix: &str, path: &str| {
            machine_paths(&File::sample("a.rs", &format!("{prefix}{path}x"))).len()
        };
        for path in MACHINE_PATHS {
            assert_eq!(in_text("see ", path), 1);
            assert_eq!(in_text("\"", path), 1);
            assert_eq!(in_text("file://", path), 1);
            assert_eq!(in_text("/var/lib/troupe", path), 0);
            assert_eq!(in_text("$data", path), 0);
            assert_eq!(in_text("${data}", path), 0);
        }
    }

    #[test]
    fn work_put_off_is_found() {
        for word in [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("to", "do!()"),
            concat!("unimpl", "emented!()"),
        ] {
            assert_eq!(put_off(&File::sample("a.rs", &format!("// {word}: later"))).len(), 1, "{word}");
        }
        assert!(put_off(&File::sample("a.md", "to do: run it again; mastodon; todos")).is_empty());
    }
}
