//! The submodules that a commit names, and which of them are taken: what `.gitmodules` says is a stranger's word.
//!
//! Pure. Must not know how they are fetched.

use std::collections::HashMap;
use std::path::{Component, Path};

use super::CloneUrl;

/// Submodules of one checkout, those of submodules among them.
pub(super) const MAX_SUBMODULES: usize = 500;

/// A submodule as `.gitmodules` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Of its section.
    pub(super) name: String,
    /// Below the superproject's root.
    pub(super) path: String,
    /// As written.
    pub(super) url: String,
}

/// The submodules in a `.gitmodules`, in order. What else it says of them, how they are updated among it, is not looked at.
///
/// # Errors
/// In words: more of them than one checkout may have.
pub(super) fn listed(entries: &[(String, String)]) -> Result<Vec<Submodule>, String> {
    let mut all: Vec<Submodule> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (key, value) in entries {
        let Some((name, field)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        let at = *places.entry(name).or_insert_with(|| {
            all.push(Submodule { name: name.to_owned(), path: String::new(), url: String::new() });
            all.len() - 1
        });
        if all.len() > MAX_SUBMODULES {
            return Err(format!("it names more than {MAX_SUBMODULES} submodules, the most of one checkout"));
        }
        match field {
            "path" => value.clone_into(&mut all[at].path),
            "url" => value.clone_into(&mut all[at].url),
            _ => {}
        }
    }
    // As git: one without a path stands nowhere.
    all.retain(|submodule| !submodule.path.is_empty());
    Ok(all)
}

impl Submodule {
    /// Whether its name and its path may be used.
    ///
    /// # Errors
    /// In words.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { name, path, .. } = self;
        let short = |text: &str| text.chars().take(80).collect::<String>();
        let climbs = name.split(['/', '\\']).any(|part| part == "..");
        if name.is_empty() || name.len() > 255 || climbs || name.chars().any(char::is_control) {
            let why = "it must have 1 to 255 bytes, without .. and control characters";
            return Err(format!("the name {:?} is not acceptable: {why}", short(name)));
        }
        let plain = |part: Component<'_>| match part {
            Component::Normal(part) => !part.eq_ignore_ascii_case(".git"),
            _ => false,
        };
        let ok = path.len() <= 1024
            && !path.starts_with(['-', ':'])
            && !path.chars().any(char::is_control)
            && path.split('/').all(|part| !part.is_empty() && part != ".")
            && Path::new(path).components().all(plain);
        if ok {
            return Ok(());
        }
        let why = "it must be relative, without .., .git, a leading - and control characters";
        Err(format!("the path {:?} is not acceptable: {why}", short(path)))
    }

    /// Where it is fetched from: `./` and `../` begin at its superproject's address. An SSH address of the server of `root` is asked as
    /// that is when that is asked over HTTP, as `actions/checkout` has it. What `root` is fetched with goes to no other server, and nowhere
    /// when it is not `given`.
    ///
    /// # Errors
    /// In words, without a credential.
    pub(super) fn address(
        &self,
        superproject: &CloneUrl,
        root: &CloneUrl,
        given: bool,
    ) -> Result<CloneUrl, String> {
        let refused = |why: String| format!("its URL is not acceptable: {why}");
        let relative = self.url.starts_with("./") || self.url.starts_with("../");
        let url = if relative {
            superproject.relative(&self.url).ok_or_else(|| {
                let long: String = self.url.chars().take(80).collect();
                refused(format!("{long:?} is no address beside {}", superproject.redacted()))
            })?
        } else {
            CloneUrl::parse(&self.url).map_err(|error| refused(error.to_string()))?
        };
        if url.has_password() {
            return Err(refused("there is a password in it; leave it out".to_owned()));
        }
        let url = url.asked_as(root);
        Ok(if given && url.is_beside(root) { url.with_credentials_of(root) } else { url.with_nothing() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, path: &str, url: &str) -> Submodule {
        Submodule { name: name.to_owned(), path: path.to_owned(), url: url.to_owned() }
    }

    #[test]
    fn what_says_where_a_submodule_is_is_read_and_nothing_else() {
        let entries = [
            ("submodule.a.b.path", "lib/a"),
            ("submodule.a.b.url", "../a"),
            ("submodule.a.b.update", "!touch /x"),
            ("core.sshcommand", "!x"),
            ("submodule.none.url", "https://h/x"),
            ("submodule.empty.path", ""),
            ("submodule.odd", ""),
        ];
        let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(listed(&entries), Ok(vec![one("a.b", "lib/a", "../a")]));
    }

    #[test]
    fn of_more_submodules_than_a_checkout_may_have_none_is_looked_at() {
        let entries = |number: usize| -> Vec<_> {
            let path = |n: usize| (format!("submodule.{n}.path"), format!("lib/{n}"));
            (0..number).map(path).collect()
        };
        assert!(listed(&entries(MAX_SUBMODULES)).is_ok_and(|all| all.len() == MAX_SUBMODULES));
        assert!(listed(&entries(58_000)).is_err_and(|why| why.contains("more than 500 submodules")));
    }

    /// Row 23 of docs/bad-input.md: CVE-2018-11235 (names), CVE-2018-17456 (a leading `-`), CVE-2024-32002 (`.git` on the way).
    #[test]
    fn names_and_paths_that_lead_elsewhere_are_refused() {
        for name in ["", "..", "../x", "a/../../x", "a\\..\\x", "a\nb", &"x".repeat(256)] {
            assert!(one(name, "p", "u").check().is_err_and(|why| why.starts_with("the name")), "{name:?}");
        }
        for path in [
            "../x",
            "/etc",
            "a/../b",
            ".git",
            ".git/hooks",
            "a/.GIT/x",
            "-u",
            "./a",
            "a//b",
            "a/",
            ":(top)a",
            "a\nb",
            ".",
        ] {
            assert!(one("n", path, "u").check().is_err_and(|why| why.starts_with("the path")), "{path:?}");
        }
        for (name, path) in [("lib/a", "lib/a"), ("a..b", ".github/x"), ("x", "a b/.gitx")] {
            assert_eq!(one(name, path, "u").check(), Ok(()), "{name:?} {path:?}");
        }
    }

    #[test]
    fn an_address_is_found_as_git_finds_it_and_checked_as_a_persons() -> Result<(), String> {
        let parse = |url: &str| CloneUrl::parse(url).map_err(|error| error.to_string());
        let root = parse("https://h/o/r.git")?.with_token("t0k").map_err(|error| error.to_string())?;
        for (of, url, wanted) in [
            ("https://h/o/r.git", "../x.git", "https://h/o/x.git"),
            ("https://h/o/r.git", "./x", "https://h/o/r.git/x"),
            ("https://h/o/r/", "../../p/x", "https://h/p/x"),
            ("ssh://git@g/o/r", "../x", "ssh://git@g/o/x"),
            ("git@g:o/r.git", "../../x", "ssh://git@g/x"),
            ("https://h/o/r", "git@h:o/x.git", "https://h/o/x.git"),
            ("https://h/o/r", "ssh://git@g/x", "ssh://git@g/x"),
            ("https://h/o/r", "ssh://git@h:2222/x", "ssh://git@h:2222/x"),
            ("https://h/o/r", "https://ann@h/x", "https://h/x"),
        ] {
            let found = one("n", "p", url).address(&parse(of)?, &root, true)?;
            assert_eq!(found.redacted(), wanted, "{url} in {of}");
            let secret = found.written_token();
            let beside = wanted.starts_with("https://h/");
            assert_eq!(secret.as_deref(), beside.then_some("x-access-token:t0k"), "{url} in {of}");
            let strangers = one("n", "p", url).address(&parse(of)?, &root, false)?;
            assert_eq!(strangers.written_token(), None, "{url} in {of}");
        }
        for url in [
            "../../../x",
            "/srv/git/x",
            "file:///srv/x",
            "ext::sh -c touch% /x",
            "-u./payload",
            "ssh://-oProxyCommand=x/y",
            "../x?y",
            "..",
            "",
            "https://ann:s3cret@h/x",
        ] {
            let refused = one("n", "p", url).address(&root, &root, true).map(|url| url.redacted());
            assert!(refused.as_ref().is_err_and(|why| !why.contains("s3cret")), "{url}: {refused:?}");
        }
        Ok(())
    }
}
