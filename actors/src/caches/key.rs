//! By what a cache is found: keys, and the refs whose caches a run sees. Pure.

use domain::{CacheEntry, ClusterState, Event, EventKind, RepoId, limits};

use super::Error;

/// Restore keys of one step.
const MAX_KEYS: usize = 10;

/// Checks a key.
///
/// # Errors
/// [`Error::BadKey`].
pub fn check(key: &str) -> Result<(), Error> {
    let bad = |why: String| Err(Error::BadKey { key: key.chars().take(100).collect(), why });
    if key.is_empty() {
        return bad("it is empty".to_owned());
    }
    if key.len() > limits::MAX_NAME_BYTES {
        return bad(format!("it has {} bytes, {} are allowed", key.len(), limits::MAX_NAME_BYTES));
    }
    if key.contains(',') || key.contains(char::is_control) {
        return bad("commas and control characters are not allowed".to_owned());
    }
    Ok(())
}

/// The key, then the restore keys, one in a line.
///
/// # Errors
/// [`Error::BadKey`].
pub fn all(key: &str, restore_keys: &str) -> Result<Vec<String>, Error> {
    let lines = restore_keys.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = std::iter::once(key).chain(lines).map(str::to_owned).collect();
    keys.iter().try_for_each(|key| check(key))?;
    if keys.len() > MAX_KEYS {
        let why = format!("there are {} keys with its restore keys, {MAX_KEYS} are allowed", keys.len());
        return Err(Error::BadKey { key: key.to_owned(), why });
    }
    Ok(keys)
}

/// Whose caches a run sees, the nearest first: its own ref's; of a pull request, those of the branch that it goes to; those of
/// the default branch.
#[must_use]
pub fn scopes(event: &Event, default_branch: &str) -> Vec<String> {
    let own = own_scope(event);
    let default = match default_branch {
        "" => String::new(),
        branch if branch.starts_with("refs/") => branch.to_owned(),
        branch => format!("refs/heads/{branch}"),
    };
    let mut scopes = vec![own, event.base_ref.clone(), default];
    scopes.retain(|scope| !scope.is_empty());
    let mut seen = Vec::new();
    scopes.retain(|scope| {
        !seen.contains(scope) && {
            seen.push(scope.clone());
            true
        }
    });
    scopes
}

/// The scope in which a run keeps what it keeps: its ref. Nobody sees what a pull request keeps but that pull request.
#[must_use]
pub fn own_scope(event: &Event) -> String {
    let of_request = event.kind == EventKind::PullRequest && event.git_ref.starts_with("refs/heads/");
    match of_request {
        // A branch's own name, as some forges give for a pull request, is that branch's scope and not the request's.
        true => format!("refs/pull-of/{}", event.git_ref.trim_start_matches("refs/heads/")),
        false => event.git_ref.clone(),
    }
}

/// Whether a run may keep caches: a stranger's may not, for what it leaves the next run of others would unpack.
#[must_use]
pub fn may_keep(event: &Event) -> bool {
    !event.from_fork && !event.git_ref.is_empty()
}

/// The cache for these keys: in each scope, the nearest first, each key in turn, as a whole and then as a beginning; of several that
/// begin so, the one that was made last; one of a lost node is as none. True when it is exactly what was asked for.
#[must_use]
pub fn find<'a>(
    state: &'a ClusterState,
    repo: RepoId,
    scopes: &[String],
    version: [u8; 32],
    keys: &[String],
) -> Option<(&'a CacheEntry, bool)> {
    let fits = |entry: &&CacheEntry| entry.version == version && state.can_be_had(entry);
    let fitting: Vec<_> = state.caches_of(repo).map(|(_, entry)| entry).filter(fits).collect();
    for scope in scopes {
        for key in keys {
            let of_scope = || fitting.iter().filter(|entry| entry.scope == *scope);
            let exact = of_scope().find(|entry| entry.key == *key);
            let begins = || of_scope().filter(|entry| entry.key.starts_with(key.as_str()));
            let found = exact.or_else(|| begins().max_by_key(|entry| (entry.created_at, &entry.key)));
            if let Some(entry) = found {
                return Some((entry, Some(&entry.key) == keys.first()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        BootId, Capacity, Command, Entry, Labels, LogIndex, NodeFacts, NodeId, Resources, Timestamp,
    };

    const REPO: RepoId = RepoId(1);

    fn entry(scope: &str, key: &str, at: u64) -> CacheEntry {
        CacheEntry {
            scope: scope.to_owned(),
            key: key.to_owned(),
            version: [1; 32],
            size: 1,
            digest: [0; 32],
            node: NodeId(1),
            created_at: Timestamp(at),
            used_at: Timestamp(at),
        }
    }

    fn state(entries: &[CacheEntry]) -> ClusterState {
        let mut state = ClusterState::default();
        for node in [1, 2] {
            let facts = NodeFacts {
                node: NodeId(node),
                name: format!("n{node}").parse().expect("a good name"),
                boot: BootId(1),
                cluster_addr: String::new(),
                http_addr: String::new(),
                labels: Labels::default(),
                capacity: Capacity { resources: Resources { cpu_millis: 1, memory_mib: 1 }, slots: 1 },
                version: String::new(),
            };
            apply(&mut state, node, Command::RegisterNode(facts));
        }
        for entry in entries {
            state.caches.insert(entry.id(REPO), entry.clone());
        }
        state
    }

    fn apply(state: &mut ClusterState, index: LogIndex, command: Command) {
        state.apply(index, &Entry { at: Timestamp(index), command });
    }

    fn event(kind: EventKind, git_ref: &str, base_ref: &str) -> Event {
        Event {
            kind,
            git_ref: git_ref.to_owned(),
            commit: String::new(),
            before: String::new(),
            sender: String::new(),
            title: String::new(),
            payload: String::new(),
            from_fork: false,
            base_ref: base_ref.to_owned(),
            cause: None,
        }
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn the_nearest_scope_first_then_each_key_whole_and_as_a_beginning() {
        let (main, feature) = ("refs/heads/main", "refs/heads/feature");
        let state = state(&[
            entry(main, "cargo-1", 1),
            entry(main, "cargo-2", 2),
            entry(feature, "cargo-0", 9),
            entry("refs/pull/7/merge", "cargo-3", 10),
            entry(main, "cargo-1-more", 3),
        ]);
        let find = |scopes: &[&str], wanted: &[&str]| {
            find(&state, REPO, &keys(scopes), [1; 32], &keys(wanted))
                .map(|(found, hit)| (found.key.clone(), hit))
        };
        let found = |key: &str, hit| Some((key.to_owned(), hit));
        assert_eq!(find(&[feature, main], &["cargo-1"]), found("cargo-1", true));
        assert_eq!(
            find(&[feature, main], &["cargo-9", "cargo-"]),
            found("cargo-0", false),
            "the nearer scope"
        );
        assert_eq!(find(&[main], &["cargo-9", "cargo-"]), found("cargo-1-more", false), "the newest");
        assert_eq!(find(&[main], &["cargo-1-"]), found("cargo-1-more", false));
        assert_eq!(find(&[main], &["cargo-9"]), None);
        // Row 29: what a pull request has kept.
        assert_eq!(find(&[main], &["cargo-3"]), None);
        assert_eq!(find(&["refs/pull/7/merge", main], &["cargo-3"]), found("cargo-3", true));
    }

    #[test]
    fn another_repositorys_and_another_versions_are_not_found() {
        let state = state(&[entry("refs/heads/main", "a", 1)]);
        let scopes = keys(&["refs/heads/main"]);
        assert!(super::find(&state, RepoId(2), &scopes, [1; 32], &keys(&["a"])).is_none());
        assert!(super::find(&state, REPO, &scopes, [2; 32], &keys(&["a"])).is_none());
        assert!(super::find(&state, REPO, &scopes, [1; 32], &keys(&["a"])).is_some());
    }

    #[test]
    fn what_a_lost_node_has_is_as_if_it_were_not_there() {
        let main = "refs/heads/main";
        let newest = CacheEntry { node: NodeId(2), ..entry(main, "a-2", 2) };
        let mut state = state(&[entry(main, "a-1", 1), newest]);
        let (scopes, wanted) = (keys(&[main]), keys(&["a-2", "a-"]));
        let found = |state: &ClusterState| {
            find(state, REPO, &scopes, [1; 32], &wanted).map(|(entry, hit)| (entry.key.clone(), hit))
        };
        assert_eq!(found(&state), Some(("a-2".to_owned(), true)));
        apply(&mut state, 3, Command::LoseNode { node: NodeId(2), boot: BootId(1) });
        assert_eq!(found(&state), Some(("a-1".to_owned(), false)));
        apply(&mut state, 4, Command::LoseNode { node: NodeId(1), boot: BootId(1) });
        assert_eq!(found(&state), None);
    }

    /// Row 29.
    #[test]
    fn a_pull_request_sees_its_own_its_bases_and_the_default_branchs_and_keeps_its_own() {
        let request = event(EventKind::PullRequest, "refs/pull/7/head", "refs/heads/next");
        let seen = ["refs/pull/7/head", "refs/heads/next", "refs/heads/main"];
        assert_eq!(scopes(&request, "main"), seen);
        assert_eq!(own_scope(&request), "refs/pull/7/head");
        let named_as_a_branch = event(EventKind::PullRequest, "refs/heads/main", "refs/heads/main");
        assert_ne!(own_scope(&named_as_a_branch), "refs/heads/main", "a fork's branch may have any name");
        let push = event(EventKind::Push, "refs/heads/main", "");
        assert_eq!(scopes(&push, "refs/heads/main"), ["refs/heads/main"]);
        assert!(may_keep(&push) && may_keep(&request));
        assert!(!may_keep(&Event { from_fork: true, ..request }));
    }

    #[test]
    fn keys_have_limits() {
        assert!(all("a", " b \n\nc\n").is_ok_and(|keys| keys == ["a", "b", "c"]));
        for (key, words) in [
            ("", "it is empty"),
            ("a,b", "commas"),
            ("a\nb", "control"),
            (&"x".repeat(limits::MAX_NAME_BYTES + 1), "are allowed"),
        ] {
            let error = check(key).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{key:.10}: {error}");
        }
        assert!(all("a", &"b\n".repeat(MAX_KEYS)).is_err());
    }
}
