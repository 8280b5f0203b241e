//! What a crate or a module must never name: the "Never" list of `docs/architecture.md`, section 1.

use crate::source::{code_only, line_of, without_tests};
use crate::tree::File;
use crate::violation::Violation;
use regex::Regex;

/// Names that some crates must not use outside tests.
struct Never {
    crates: &'static [&'static str],
    /// A regular expression over code without comments, strings and tests.
    pattern: &'static str,
    why: &'static str,
}

const PURE: &[&str] = &["domain", "workflow"];

const NEVER: &[Never] = &[
    Never {
        crates: PURE,
        pattern: r"\b(tokio|openraft|ractor|ractor_cluster|warp|bollard|bincode|metrics)\s*::",
        why: "the pure crates know no runtime, network, storage or telemetry library",
    },
    Never {
        crates: PURE,
        pattern: r"\b(SystemTime|Instant)\b|\bstd::time::\{?\s*\*",
        why: "the pure crates read no clock: time comes in as a parameter",
    },
    Never {
        crates: PURE,
        pattern: r"\b(rand|rand_core|getrandom|fastrand)\s*::|\bRandomState\b|\bUlid::new\s*\(",
        why: "the pure crates draw no random numbers: ids and randomness come in as parameters",
    },
    Never {
        crates: PURE,
        pattern: r"\bstd::(fs|net|env|process|thread|os)\b|\bstd::\{[^;]*\b(fs|net|env|process|thread|os)\b|\b(stdin|stdout|stderr)\s*\(|\be?println!|\be?print!",
        why: "the pure crates touch no file, socket, environment, process or terminal",
    },
    Never {
        crates: &["raft-store"],
        pattern: r"\b(ractor|ractor_cluster|warp|bollard)\s*::",
        why: "raft-store knows no actors, HTTP server or containers",
    },
    Never { crates: &["actors"], pattern: r"\bwarp\s*::", why: "actors knows no HTTP server for people" },
];

/// A library that is named in one place only, tests included.
struct Home {
    library: &'static str,
    /// Files, or folders that end in `/`.
    places: &'static [&'static str],
}

const HOMES: &[Home] = &[
    Home { library: "bollard", places: &["actors/src/executor/docker.rs", "actors/src/executor/docker/"] },
    Home { library: "bincode", places: &["raft-store/src/codec.rs"] },
    Home { library: "ring::aead", places: &["actors/src/vault.rs"] },
    Home { library: "ractor_cluster", places: &["actors/src/gateway.rs", "actors/src/gateway/"] },
];

/// The crate of this file names nothing that it must not know.
pub fn never(file: &File) -> Vec<Violation> {
    let rules: Vec<_> = NEVER.iter().filter(|rule| rule.crates.contains(&file.krate())).collect();
    if rules.is_empty() || !file.is_rust() || file.is_test_code() {
        return Vec::new();
    }
    let code = without_tests(&code_only(&file.text));
    rules.iter().flat_map(|rule| matches(file, &code, rule.pattern, rule.why)).collect()
}

/// A library with one home is named nowhere else.
pub fn homes(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let mut found = Vec::new();
    for home in HOMES {
        let at_home = home.places.iter().any(|place| match place.ends_with('/') {
            true => file.path.starts_with(place),
            false => file.path == *place,
        });
        if !at_home {
            let why = format!("{} is named only in {}", home.library, home.places.join(" or "));
            let pattern = format!(r"\b{0}\s*::|\b(use|extern\s+crate)\s+{0}\b", home.library);
            found.extend(matches(file, &code, &pattern, &why));
        }
    }
    found
}

fn matches(file: &File, code: &str, pattern: &str, why: &str) -> Vec<Violation> {
    let pattern = Regex::new(pattern).expect("the patterns of this file are tested");
    let violation = |m: regex::Match<'_>| {
        let words: Vec<_> = m.as_str().split_whitespace().collect();
        Violation::new(&file.path, line_of(code, m.start()), format!("names `{}`: {why}", words.join(" ")))
    };
    pattern.find_iter(code).map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never_in(path: &str, code: &str) -> Vec<Violation> {
        never(&File::sample(path, code))
    }

    #[test]
    fn each_way_out_of_a_pure_crate_is_found() {
        let bad = [
            "use tokio::sync::Mutex;",
            "fn f() { metrics::counter!(); }",
            "let now = std::time::SystemTime::now();",
            "use std::time::Instant;",
            "use std::time::*;",
            "let n: u8 = rand::random();",
            "let id = ulid::Ulid::new();",
            "use std::fs;",
            "use std::{collections::BTreeMap, env};",
            "use std::{\n    fmt,\n    net::TcpStream,\n};",
            "let home = std::env::var(key);",
            "println!();",
        ];
        for code in bad {
            for krate in PURE {
                assert!(!never_in(&format!("{krate}/src/a.rs"), code).is_empty(), "{krate}: {code}");
            }
            assert!(never_in("node/src/a.rs", code).is_empty(), "{code}");
        }
    }

    #[test]
    fn words_that_only_look_alike_are_left_alone() {
        let fine = [
            "/// Never calls tokio::spawn or std::fs::read.\nfn f() {}",
            "let message = \"std::env::var\";",
            "use std::{collections::BTreeMap, fmt};",
            "use crate::grand::total; use std::time::Duration;",
            "#[cfg(test)]\nmod tests { use std::fs; }",
        ];
        for code in fine {
            assert_eq!(never_in("domain/src/a.rs", code), [], "{code}");
        }
        assert_eq!(never_in("domain/tests/simulation.rs", "use std::env;"), []);
    }

    #[test]
    fn raft_store_and_actors_have_their_own_limits() {
        assert_eq!(never_in("raft-store/src/a.rs", "use ractor::Actor;").len(), 1);
        assert_eq!(never_in("raft-store/src/a.rs", "use bollard::Docker;").len(), 1);
        assert_eq!(never_in("actors/src/a.rs", "use warp::Filter;").len(), 1);
        assert_eq!(never_in("actors/src/a.rs", "use ractor::Actor;"), []);
    }

    #[test]
    fn a_library_away_from_home_is_found_with_its_line() {
        let away = homes(&File::sample("actors/src/runner.rs", "//! R.\nuse bollard::Docker;\n"));
        assert_eq!(away.len(), 1);
        assert_eq!(away[0].line, 2);
        assert_eq!(homes(&File::sample("raft-store/src/log.rs", "fn f() { bincode::encode() }")).len(), 1);
        assert_eq!(homes(&File::sample("actors/src/root.rs", "use ractor_cluster as rc;")).len(), 1);
    }

    #[test]
    fn a_library_at_home_is_fine() {
        assert_eq!(homes(&File::sample("actors/src/executor/docker.rs", "use bollard::Docker;")), []);
        assert_eq!(homes(&File::sample("actors/src/executor/docker/exec.rs", "use bollard::Docker;")), []);
        assert_eq!(homes(&File::sample("raft-store/src/codec.rs", "bincode::encode()")), []);
        assert_eq!(
            homes(&File::sample("actors/src/gateway/session.rs", "use ractor_cluster::NodeServer;")),
            []
        );
        assert_eq!(homes(&File::sample("actors/src/root.rs", "use ractor::Actor; // ractor_cluster::x")), []);
    }
}
