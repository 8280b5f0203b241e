//! Commit statuses as each forge documents them, and what forges answer.

use std::collections::BTreeMap;

use forge::Forge;
use forge::status::{Next, Request, State, Status, Unsendable, next, request};
use serde_json::{Value, json};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const NOW: u64 = 784_111_777 - 30;

fn status(forge: Forge) -> Status<'static> {
    Status {
        forge,
        api_url: "https://forge.example/api/",
        repository: "o/r",
        commit: SHA,
        state: State::Success,
        context: "troupe/build",
        description: "3 jobs",
        target_url: "https://ci.example/runs/1",
        token: "s3cret-token",
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.iter().find(|(one, _)| *one == name).map_or("", |(_, value)| value)
}

fn states(forge: Forge) -> Vec<String> {
    let all =
        [State::Pending, State::Running, State::Success, State::Failure, State::Error, State::Cancelled];
    all.iter()
        .map(|state| {
            let request = request(&Status { state: *state, ..status(forge) }).expect("sendable");
            body(&request)["state"].as_str().expect("a state").to_owned()
        })
        .collect()
}

#[test]
fn github() -> Result<(), Unsendable> {
    let sent = request(&status(Forge::GitHub))?;
    assert_eq!(
        (sent.method, &*sent.url),
        ("POST", &*format!("https://forge.example/api/repos/o/r/statuses/{SHA}"))
    );
    assert_eq!(header(&sent, "authorization"), "Bearer s3cret-token");
    assert_eq!(header(&sent, "accept"), "application/vnd.github+json");
    assert_eq!((header(&sent, "content-type"), header(&sent, "user-agent")), ("application/json", "troupe"));
    let expected = json!({ "state": "success", "target_url": "https://ci.example/runs/1", "description": "3 jobs",
        "context": "troupe/build" });
    assert_eq!(body(&sent), expected);
    assert_eq!(states(Forge::GitHub), ["pending", "pending", "success", "failure", "error", "error"]);
    Ok(())
}

#[test]
fn gitea_and_forgejo() -> Result<(), Unsendable> {
    for forge in [Forge::Gitea, Forge::Forgejo] {
        let sent = request(&status(forge))?;
        assert_eq!(sent.url, format!("https://forge.example/api/repos/o/r/statuses/{SHA}"));
        assert_eq!(header(&sent, "authorization"), "token s3cret-token");
        assert_eq!(body(&sent), body(&request(&status(Forge::GitHub))?));
        assert_eq!(states(forge), states(Forge::GitHub));
    }
    Ok(())
}

#[test]
fn gitlab() -> Result<(), Unsendable> {
    let sent = request(&Status { repository: "group/sub group/project", ..status(Forge::GitLab) })?;
    assert_eq!(
        sent.url,
        format!("https://forge.example/api/projects/group%2Fsub%20group%2Fproject/statuses/{SHA}")
    );
    assert_eq!(header(&sent, "authorization"), "Bearer s3cret-token");
    let expected = json!({ "state": "success", "name": "troupe/build", "description": "3 jobs",
        "target_url": "https://ci.example/runs/1" });
    assert_eq!(body(&sent), expected);
    assert_eq!(states(Forge::GitLab), ["pending", "running", "success", "failed", "failed", "canceled"]);
    // A URL that GitLab would refuse is left out, for the state matters more.
    let long = format!("https://ci.example/{}", "x".repeat(255));
    let sent = request(&Status { target_url: &long, ..status(Forge::GitLab) })?;
    assert!(body(&sent)["target_url"].is_null());
    Ok(())
}

#[test]
fn bitbucket_cloud() -> Result<(), Unsendable> {
    let sent = request(&status(Forge::Bitbucket))?;
    assert_eq!(sent.url, format!("https://forge.example/api/repositories/o/r/commit/{SHA}/statuses/build"));
    let expected = json!({ "key": "troupe/build", "name": "troupe/build", "state": "SUCCESSFUL", "description": "3 jobs",
        "url": "https://ci.example/runs/1" });
    assert_eq!(body(&sent), expected);
    assert_eq!(
        states(Forge::Bitbucket),
        ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "FAILED", "STOPPED"]
    );
    // A key has at most 40 characters, and two long ones that begin alike stay two.
    let key = |end: char| {
        let context = format!("{}{end}", "x".repeat(60));
        let sent = request(&Status { context: &context, ..status(Forge::Bitbucket) })?;
        let body = body(&sent);
        assert_eq!(body["name"], context);
        Ok(body["key"].as_str().expect("a key").to_owned())
    };
    assert_eq!((key('a')?.len(), key('b')?.len()), (40, 40));
    assert_ne!(key('a')?, key('b')?);
    assert_eq!(key('a')?, key('a')?);
    Ok(())
}

#[test]
fn bitbucket_data_center() -> Result<(), Unsendable> {
    let sent = request(&Status { repository: "~ada/r", ..status(Forge::BitbucketDataCenter) })?;
    assert_eq!(sent.url, format!("https://forge.example/api/projects/~ada/repos/r/commits/{SHA}/builds"));
    assert_eq!(body(&sent), body(&request(&status(Forge::Bitbucket))?));
    assert_eq!(
        states(Forge::BitbucketDataCenter),
        ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "FAILED", "CANCELLED"]
    );
    let long = format!("https://ci.example/{}", "x".repeat(450));
    let refused = request(&Status { target_url: &long, ..status(Forge::BitbucketDataCenter) });
    assert!(matches!(refused, Err(Unsendable::Field { field: "target_url", .. })), "{refused:?}");
    Ok(())
}

#[test]
fn who_has_no_statuses_is_sent_none() {
    for forge in [Forge::Gogs, Forge::Generic] {
        assert_eq!(request(&status(forge)), Err(Unsendable::NoStatuses { forge }));
    }
}

#[test]
fn descriptions_are_cut_to_each_forges_limit() -> Result<(), Unsendable> {
    let long = "\u{e9}".repeat(1000);
    for (forge, limit) in [
        (Forge::GitHub, 140),
        (Forge::Gitea, 255),
        (Forge::Forgejo, 255),
        (Forge::GitLab, 255),
        (Forge::Bitbucket, 255),
        (Forge::BitbucketDataCenter, 255),
    ] {
        let described = |text: &str| {
            let sent = request(&Status { description: text, ..status(forge) })?;
            Ok(body(&sent)["description"].as_str().expect("a description").to_owned())
        };
        let cut = described(&long)?;
        assert_eq!((cut.chars().count(), cut.ends_with('\u{2026}')), (limit, true), "{forge:?}");
        let just: String = long.chars().take(limit).collect();
        assert_eq!(described(&just)?, just, "{forge:?}");
    }
    Ok(())
}

#[test]
fn what_could_become_another_request_is_not_sent() {
    let good = status(Forge::GitHub);
    for (bad, named) in [
        (Status { commit: "main", ..good }, "commit"),
        (Status { commit: "../../x", ..good }, "commit"),
        (Status { commit: "0000000000000000000000000000000000000000", ..good }, "commit"),
        (Status { repository: "r", ..good }, "repository"),
        (Status { repository: "o/../x", ..good }, "repository"),
        (Status { repository: "o//x", ..good }, "repository"),
        (Status { api_url: "file:///etc", ..good }, "api_url"),
        (Status { target_url: "javascript:alert(1)", ..good }, "target_url"),
        (Status { token: "a\r\nHost: b", ..good }, "token"),
        (Status { token: "", ..good }, "token"),
        (Status { context: " ", ..good }, "context"),
    ] {
        let refused = request(&bad).expect_err("it is bad");
        assert!(matches!(refused, Unsendable::Field { field, .. } if field == named), "{named}: {refused}");
    }
    // A name that ends a path elsewhere stays in it.
    let odd = request(&Status { repository: "o/r?x=#y%2F", ..good }).expect("sendable");
    assert_eq!(odd.url, format!("https://forge.example/api/repos/o/r%3Fx%3D%23y%252F/statuses/{SHA}"));
    // The token is in no message.
    assert!(!format!("{odd:?}").contains("s3cret"), "{odd:?}");
}

fn after(forge: Forge, code: u16, headers: &[(&'static str, &str)], body: &str) -> Next {
    let headers: BTreeMap<&str, String> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    next(forge, code, &headers, body.as_bytes(), NOW)
}

#[test]
fn what_was_taken_is_done() {
    for forge in Forge::ALL {
        for code in [200, 201, 204] {
            assert_eq!(after(forge, code, &[], ""), Next::Done, "{forge:?}");
        }
    }
    let said = r#"{"message":"Cannot transition status via :enqueue from :pending (Reason(s): ...)"}"#;
    assert_eq!(after(Forge::GitLab, 400, &[], said), Next::Done);
    assert!(matches!(after(Forge::GitHub, 400, &[], said), Next::Never { .. }));
}

#[test]
fn limits_say_when_to_come_again() {
    let end = (NOW + 90).to_string();
    let past = (NOW - 90).to_string();
    for (forge, code, headers, body, seconds) in [
        (Forge::GitHub, 403, vec![("retry-after", "7")], "", 7),
        (Forge::GitHub, 429, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*end)], "", 90),
        (Forge::GitHub, 403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*end)], "", 90),
        (Forge::GitHub, 403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*past)], "", 0),
        (Forge::GitHub, 403, vec![], "You have exceeded a secondary rate limit.", 60),
        (
            Forge::GitLab,
            429,
            vec![("ratelimit-remaining", "0"), ("ratelimit-reset", &*end)],
            "Retry later",
            90,
        ),
        (Forge::GitLab, 429, vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], "", 30),
        (Forge::GitLab, 429, vec![("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], "", 0),
        (Forge::Bitbucket, 429, vec![], "", 60),
        (Forge::Gitea, 503, vec![("retry-after", "120")], "", 120),
        (Forge::Gitea, 503, vec![("retry-after", "soon")], "", 0),
        (Forge::Gitea, 502, vec![("retry-after", "99999999")], "", 3600),
        (Forge::BitbucketDataCenter, 500, vec![], "", 0),
        (Forge::GitLab, 409, vec![], "", 0),
        (Forge::GitLab, 408, vec![], "", 0),
    ] {
        let expected = Next::Again { after_seconds: seconds };
        assert_eq!(after(forge, code, &headers, body), expected, "{forge:?} {code} {headers:?}");
    }
}

#[test]
fn what_will_never_be_taken_is_not_tried_again() {
    let left = [("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "784111800")];
    for (code, said, part) in [
        (401, "Bad credentials", "token is not accepted"),
        (403, "Resource not accessible by personal access token", "may not set statuses"),
        (404, "Not Found", "may not see it"),
        (422, "No commit found for SHA", "No commit found"),
        (301, "", "elsewhere"),
        (400, "bad\u{1b}[31m\nrequest", "bad [31m request"),
    ] {
        let Next::Never { why } = after(Forge::GitHub, code, &left, said) else { panic!("{code}") };
        assert!(why.contains(part) && why.contains(&code.to_string()), "{why}");
        assert!(!why.contains(char::is_control), "{why:?}");
    }
    let missing =
        r#"{"message":"object does not exist [id: 0123, rel_path: ]","url":"https://h/api/swagger"}"#;
    for (forge, said, is_never) in [
        (Forge::Gitea, missing, true),
        (Forge::Forgejo, missing, true),
        (Forge::Gitea, "{}", false),
        (Forge::GitHub, missing, false),
    ] {
        assert_eq!(matches!(after(forge, 500, &[], said), Next::Never { .. }), is_never, "{forge:?} {said}");
    }
    let Next::Never { why } = after(Forge::GitHub, 422, &[], &"x".repeat(5000)) else { panic!("422") };
    assert!(why.len() < 200, "{why}");
}
