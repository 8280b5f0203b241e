//! From a method and a path to the operation that they name.
//!
//! Must not know what operations do.

use warp::http::Method;

use super::operation::Operation;
use super::{OPERATIONS, parameters};

/// What the names in an operation's path stand for in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::api) struct Captured(Vec<(&'static str, String)>);

impl Captured {
    /// What a name stands for; nothing when the path has no such name.
    pub(in crate::api) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

/// Why no operation is named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) enum Missed {
    /// There is no such path.
    Path,
    /// There is, with these methods.
    Method(Vec<&'static str>),
}

/// The operation of a method and a path's segments. HEAD is answered as GET is.
///
/// Where several paths match, the one with the most fixed parts is meant, whatever the method: `/v1/repos/a/dispatch`
/// is never the repository `a/dispatch`, which is written `/v1/repos/a%2Fdispatch`.
///
/// # Errors
/// [`Missed`].
pub(in crate::api) fn find(
    method: &Method,
    segments: &[String],
) -> Result<(&'static Operation, Captured), Missed> {
    let matching = OPERATIONS.iter().flat_map(|family| family.iter()).filter_map(|operation| {
        let (fixed, captured) = captured(operation.path, segments)?;
        Some((fixed, operation, captured))
    });
    let all: Vec<_> = matching.collect();
    let most = all.iter().map(|(fixed, ..)| *fixed).max().ok_or(Missed::Path)?;
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let mut others = Vec::new();
    for (_, operation, captured) in all.into_iter().filter(|(fixed, ..)| *fixed == most) {
        if operation.method == *wanted {
            return Ok((operation, captured));
        }
        others.push(operation.method.as_str());
        if operation.method == Method::GET {
            others.push("HEAD");
        }
    }
    Err(Missed::Method(others))
}

/// How many parts of a path are fixed, and what its names stand for, when it matches.
fn captured(path: &'static str, segments: &[String]) -> Option<(usize, Captured)> {
    let parts: Vec<&'static str> = path.trim_start_matches('/').split('/').collect();
    let (mut fixed, mut captured, mut at) = (0, Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            if segments.get(at)? != part {
                return None;
            }
            (fixed, at) = (fixed + 1, at + 1);
            continue;
        };
        let after = parts.len() - index - 1;
        // A long name takes what the parts after it leave.
        let end = if parameters::LONG.contains(&name) { segments.len().checked_sub(after)? } else { at + 1 };
        let value = segments.get(at..end).filter(|taken| !taken.is_empty())?.join("/");
        captured.push((name, value));
        at = end;
    }
    (at == segments.len()).then_some((fixed, Captured(captured)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi::operation::{Access, Guarded, Open};

    fn found(method: Method, path: &str) -> Result<(Access, Captured), Missed> {
        let segments: Vec<_> =
            path.trim_matches('/').split('/').map(|part| part.replace("%2F", "/")).collect();
        find(&method, &segments).map(|(operation, captured)| (operation.access, captured))
    }

    #[test]
    fn long_names_leave_what_comes_after_them() {
        for (path, endpoint, name, value) in [
            ("/v1/repos/a", Guarded::GetRepo, "repo", "a"),
            ("/v1/repos/a/b/c", Guarded::GetRepo, "repo", "a/b/c"),
            ("/v1/repos/a%2Fdispatch", Guarded::GetRepo, "repo", "a/dispatch"),
            ("/v1/repos/dispatch", Guarded::GetRepo, "repo", "dispatch"),
            ("/v1/attempts/j/1/artifacts/x/y", Guarded::Artifact, "path", "x/y"),
            ("/v1/attempts/j/1/artifacts/log", Guarded::Artifact, "path", "log"),
        ] {
            let (access, captured) = found(Method::GET, path).unwrap();
            assert!(matches!(access, Access::Token(_, found) if found == endpoint), "{path}: {access:?}");
            assert_eq!(captured.get(name), value, "{path}");
        }
        let (access, captured) = found(Method::POST, "/v1/hooks/a/b").unwrap();
        assert_eq!((access, captured.get("repo")), (Access::Open(Open::Hook), "a/b"));
    }

    #[test]
    fn a_path_belongs_to_one_template_whatever_the_method() {
        assert_eq!(found(Method::PUT, "/v1/repos/a/dispatch"), Err(Missed::Method(vec!["POST"])));
        assert_eq!(
            found(Method::POST, "/v1/repos/a"),
            Err(Missed::Method(vec!["GET", "HEAD", "PUT", "DELETE"]))
        );
        assert_eq!(found(Method::PATCH, "/healthz"), Err(Missed::Method(vec!["GET", "HEAD"])));
        assert!(found(Method::HEAD, "/v1/runs").is_ok());
    }

    #[test]
    fn what_is_no_path_is_none() {
        for path in ["/", "/v1", "/v1/nothing", "/v1/hooks", "/v1/runs/a/b/c", "/v1/jobs/a/log", "/v2/runs"] {
            assert_eq!(found(Method::GET, path), Err(Missed::Path), "{path}");
        }
    }
}
