//! Who may depend on whom: the arrows of `docs/architecture.md`, section 1, read from the manifests; and what every
//! manifest must say.

use crate::tree::File;
use crate::violation::Violation;
use toml::{Table, Value};

/// Each crate of the workspace (by folder) and the crates of ours that it may depend on. Development and build
/// dependencies count too: a test that looks inside is an arrow as well.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("links", &[]),
    ("init", &[]),
    ("workflow", &["domain"]),
    ("forge", &["domain"]),
    ("raft-store", &["domain", "links"]),
    ("actors", &["domain", "fixtures", "forge", "init", "links", "raft-store", "workflow"]),
    ("node", &["actors", "domain", "fixtures", "forge", "init", "links", "raft-store", "workflow"]),
    // Sees processes from outside, over HTTP.
    ("tests/chaos", &["domain", "fixtures"]),
    ("tests/crash", &["domain", "raft-store"]),
    ("tests/fixtures", &[]),
    // Clients of other systems, in a workspace of their own.
    ("benches/peers", &[]),
    // True stores on what it simulates.
    ("tests/simulation", &["domain", "raft-store"]),
    ("tests/tidy", &[]),
];

/// Libraries that a crate must not depend on, development dependencies excepted. What each library's one crate is,
/// `deny.toml` says for the whole tree.
const NEVER: &[(&str, &[&str])] = &[
    ("domain", PURE_NEVER),
    ("workflow", PURE_NEVER),
    ("raft-store", &["ractor", "ractor_cluster", "warp", "bollard"]),
    ("actors", &["warp"]),
];

const PURE_NEVER: &[&str] = &[
    "anyhow",
    "bincode",
    "bollard",
    "getrandom",
    "hyper",
    "jiff",
    "metrics",
    "openraft",
    "ractor",
    "ractor_cluster",
    "rand",
    "reqwest",
    "tokio",
    "tracing",
    "warp",
];

/// One crate's manifest depends on nothing that it may not depend on.
///
/// `file` is any file; all but the manifests of crates are passed over.
pub fn arrows(file: &File) -> Vec<Violation> {
    let Some(krate) = file.path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let fail = |what: String| vec![Violation::new(&file.path, 0, what)];
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(e) => return fail(format!("is no TOML: {e}")),
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == krate) else {
        return fail(
            "is a crate without arrows: draw them in docs/architecture.md and in tests/tidy".to_owned(),
        );
    };
    let never = NEVER.iter().find(|(name, _)| *name == krate).map_or(&[][..], |(_, list)| list);

    let mut found = Vec::new();
    for (kind, name) in dependencies(&manifest) {
        if is_ours(&name) && !allowed.contains(&name.as_str()) {
            found.push(format!("[{kind}] {name}: {krate} may depend only on {allowed:?} of our crates"));
        }
        if kind != "dev-dependencies" && never.contains(&name.as_str()) {
            found.push(format!("[{kind}] {name}: {krate} must not know this library"));
        }
    }
    found.into_iter().map(|what| Violation::new(&file.path, 0, what)).collect()
}

/// Every crate takes the lints of the workspace: one that forgets is checked for nothing. One that is a workspace of its own
/// has none to take.
pub fn lints(file: &File) -> Vec<Violation> {
    let is_crate = file.path.ends_with("/Cargo.toml");
    let manifest: Table = match file.text.parse::<Table>() {
        Ok(manifest) if is_crate && !manifest.contains_key("workspace") => manifest,
        _ => return Vec::new(),
    };
    let takes = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(Value::as_bool);
    match takes {
        Some(true) => Vec::new(),
        _ => vec![Violation::new(
            &file.path,
            0,
            "does not take the lints of the workspace: add `[lints] workspace = true`",
        )],
    }
}

fn is_ours(name: &str) -> bool {
    ARROWS.iter().any(|(path, _)| path.rsplit('/').next() == Some(name))
}

/// Kind and name of every dependency, those of `[target.*]` included, a renamed one by its real name.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for kind in KINDS {
            for (key, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let package = value.get("package").and_then(Value::as_str);
                found.push((kind, package.unwrap_or(key).to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows_of(krate: &str, manifest: &str) -> usize {
        arrows(&File::sample(&format!("{krate}/Cargo.toml"), manifest)).len()
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        assert_eq!(arrows_of("domain", "[dependencies]\nworkflow.workspace = true"), 1);
        assert_eq!(arrows_of("links", "[dependencies]\ndomain.workspace = true"), 1);
        assert_eq!(arrows_of("raft-store", "[dependencies]\nactors = { path = \"../actors\" }"), 1);
        assert_eq!(
            arrows_of("forge", "[dependencies]\nx = { package = \"workflow\", path = \"../workflow\" }"),
            1
        );
        assert_eq!(arrows_of("init", "[build-dependencies]\ndomain.workspace = true"), 1);
        assert_eq!(arrows_of("workflow", "[target.'cfg(unix)'.dependencies]\nlinks.workspace = true"), 1);
    }

    #[test]
    fn chaos_may_not_look_inside_not_even_in_its_tests() {
        for inside in ["actors", "raft-store", "node"] {
            assert_eq!(
                arrows_of("tests/chaos", &format!("[dev-dependencies]\n{inside}.workspace = true")),
                1
            );
        }
        assert_eq!(arrows_of("tests/chaos", "[dependencies]\ndomain.workspace = true\nreqwest = \"1\""), 0);
    }

    #[test]
    fn a_library_that_a_crate_must_not_know_is_found() {
        assert_eq!(arrows_of("domain", "[dependencies]\ntokio.workspace = true"), 1);
        assert_eq!(arrows_of("raft-store", "[dependencies]\nractor.workspace = true"), 1);
        assert_eq!(arrows_of("domain", "[dev-dependencies]\nrand.workspace = true"), 0);
    }

    #[test]
    fn drawn_arrows_and_libraries_are_fine() {
        let manifest =
            "[dependencies]\nactors.workspace = true\ndomain.workspace = true\nwarp.workspace = true";
        assert_eq!(arrows_of("node", manifest), 0);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let lints_of = |manifest| lints(&File::sample("domain/Cargo.toml", manifest)).len();
        assert_eq!(lints_of("[package]\nname = \"domain\""), 1);
        assert_eq!(lints_of("[lints]\nworkspace = false"), 1);
        assert_eq!(lints_of("[lints]\nworkspace = true"), 0);
    }

    #[test]
    fn a_new_crate_must_be_drawn_first() {
        assert_eq!(arrows_of("plugins", "[package]\nname = \"plugins\""), 1);
        assert_eq!(arrows_of("domain", "no toml"), 1);
    }
}
