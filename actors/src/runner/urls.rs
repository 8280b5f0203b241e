//! Where a repository's forge is, from what it was registered with.
//!
//! Pure. What nobody said is not guessed.

use domain::Repo;
use url::Url;
use workflow::contexts::Urls;

/// Of a repository.
pub fn of(repo: &Repo) -> Urls {
    found(&repo.clone_url, repo.access.status.as_ref().map_or("", |status| &status.api_url))
}

fn found(clone_url: &str, api_url: &str) -> Urls {
    let told = api_url.trim_end_matches('/');
    let server = origin(clone_url).or_else(|| server_of_api(told)).unwrap_or_default();
    let api = match (told, server.as_str()) {
        ("", "https://github.com") => "https://api.github.com",
        (told, _) => told,
    };
    Urls { graphql: graphql(api), api: api.to_owned(), server }
}

/// Of an address of HTTP, what is before its path.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url.origin().ascii_serialization())
}

fn server_of_api(api: &str) -> Option<String> {
    let origin = origin(api)?;
    Some(match origin.as_str() {
        "https://api.github.com" => "https://github.com".to_owned(),
        "https://api.bitbucket.org" => "https://bitbucket.org".to_owned(),
        _ => origin,
    })
}

/// GitHub's and GitLab's; the others have none.
fn graphql(api: &str) -> String {
    match api.strip_suffix("/api/v3").or_else(|| api.strip_suffix("/api/v4")) {
        Some(server) => format!("{server}/api/graphql"),
        None if api == "https://api.github.com" => format!("{api}/graphql"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_known_of_a_forge_is_told_and_nothing_is_guessed() {
        for (clone_url, api_url, wanted) in [
            (
                "https://github.com/o/r.git",
                "",
                ["https://github.com", "https://api.github.com", "https://api.github.com/graphql"],
            ),
            (
                "git@github.com:o/r.git",
                "https://api.github.com",
                ["https://github.com", "https://api.github.com", "https://api.github.com/graphql"],
            ),
            (
                "https://g.example:8443/o/r",
                "https://g.example:8443/api/v4/",
                [
                    "https://g.example:8443",
                    "https://g.example:8443/api/v4",
                    "https://g.example:8443/api/graphql",
                ],
            ),
            (
                "ssh://git@g.example/o/r",
                "https://g.example/api/v1",
                ["https://g.example", "https://g.example/api/v1", ""],
            ),
            ("https://g.example/o/r", "", ["https://g.example", "", ""]),
            ("ssh://git@g.example/o/r", "", ["", "", ""]),
        ] {
            let Urls { server, api, graphql } = found(clone_url, api_url);
            assert_eq!([server.as_str(), api.as_str(), graphql.as_str()], wanted, "{clone_url}");
        }
    }
}
