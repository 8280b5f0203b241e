//! Payloads that this project did not write: normalised, or answered "no run", never refused, never a panic. Facts are
//! compared with the golden files that came with them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forge::{Commit, Event, Forge, PullRequest, Push, Received, RefChange, Rejected, What};
use serde_json::Value;
use support::payloads::places;
use support::send;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn corpora() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let dir = std::env::var_os("TROUPE_CORPORA").map_or(beside, PathBuf::from);
    if !dir.is_dir() {
        println!("skipped: no corpora (TROUPE_CORPORA)");
        return None;
    }
    Some(dir)
}

const FOLDERS: [(&str, Forge); 6] = [
    ("github", Forge::GitHub),
    ("gitea", Forge::Gitea),
    ("gogs", Forge::Gogs),
    ("gitlab", Forge::GitLab),
    ("bitbucket", Forge::Bitbucket),
    ("stash", Forge::BitbucketDataCenter),
];

/// The name under which the forge sends the event: it is in a header, which the files do not have. Of some it is in the body;
/// of the others it follows from what the body is about.
fn event_name(forge: Forge, file: &str, body: &Value) -> String {
    let has = |key: &str| !body[key].is_null();
    let named = match forge {
        Forge::GitLab => "any",
        Forge::BitbucketDataCenter => body["eventKey"].as_str().unwrap_or("diagnostics:ping"),
        Forge::Bitbucket if has("push") => "repo:push",
        Forge::Bitbucket if has("comment") => "pullrequest:comment_created",
        Forge::Bitbucket if has("commit_status") => "repo:commit_status_updated",
        Forge::Bitbucket => match (file, body["pullrequest"]["state"].as_str()) {
            (_, Some("MERGED")) => "pullrequest:fulfilled",
            (_, Some("DECLINED")) => "pullrequest:rejected",
            (file, _) if file.contains("create") => "pullrequest:created",
            _ => "pullrequest:updated",
        },
        _ if has("ref_type") && file.contains("create") => "create",
        _ if has("ref_type") => "delete",
        _ if has("after") && has("commits") => "push",
        _ if has("comment") => "issue_comment",
        _ if has("review") => "pull_request_review",
        _ if has("pull_request") => "pull_request",
        _ => file.split('_').next().unwrap_or_default(),
    };
    named.to_owned()
}

/// Every payload of the six forges: its name, what was received, and what is told of it where that was recorded.
fn payloads(corpora: &Path) -> Result<Vec<(String, Received, Option<Value>)>> {
    let mut all = Vec::new();
    for (folder, forge) in FOLDERS {
        for file in fs::read_dir(corpora.join("forge-webhooks").join(folder))? {
            let file = file?.path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("{folder}/{stem}");
            let body = fs::read(&file)?;
            let event = event_name(forge, &stem, &serde_json::from_slice(&body)?);
            let received = send(forge, &event, &body).map_err(|e| format!("{name} ({event}): {e}"))?;
            let golden = fs::read(format!("{}.golden", file.display())).unwrap_or_default();
            all.push((name, received, serde_json::from_slice(&golden).ok()));
        }
    }
    all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    Ok(all)
}

#[test]
fn every_github_payload_is_normalised_or_answered() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let (mut events, mut no_runs) = (0, 0);
    for folder in fs::read_dir(corpora.join("github-payloads"))? {
        let folder = folder?;
        let event = folder.file_name().to_string_lossy().into_owned();
        for file in fs::read_dir(folder.path())? {
            let file = file?.path();
            let body = fs::read(&file)?;
            let received =
                send(Forge::GitHub, &event, &body).map_err(|e| format!("{}: {e}", file.display()))?;
            match &received.what[..] {
                [What::Event(told)] => {
                    events += 1;
                    github_facts(&serde_json::from_slice(&body)?, &received, told);
                }
                [What::NoRun(reason)] => {
                    no_runs += 1;
                    assert!(!reason.is_empty());
                    assert!(
                        !["push", "create", "delete", "pull_request"].contains(&&*event),
                        "{}: {reason}",
                        file.display()
                    );
                }
                several => return Err(format!("{}: {several:?}", file.display()).into()),
            }
        }
    }
    println!("{events} events, {no_runs} without a run");
    assert!(events > 0 && no_runs > 0);
    Ok(())
}

/// What GitHub's payloads say themselves, there being nothing beside them.
fn github_facts(body: &Value, received: &Received, event: &Event) {
    assert_eq!(received.repository.name, text(&body["repository"]["full_name"]));
    assert_eq!(received.repository.default_branch, text(&body["repository"]["default_branch"]));
    assert_eq!(received.sender.login, text(&body["sender"]["login"]));
    match event {
        Event::Push(push) => {
            assert_eq!((&*push.git_ref, &*push.after), (text(&body["ref"]), text(&body["after"])));
        }
        Event::Created(change) | Event::Deleted(change) => {
            assert!(change.git_ref.ends_with(text(&body["ref"])), "{change:?}");
        }
        Event::PullRequest(request) => {
            let given = &body["pull_request"];
            assert_eq!(Some(request.number), given["number"].as_u64());
            assert_eq!(request.action.as_str(), text(&body["action"]));
            assert_eq!(request.author.login, text(&given["user"]["login"]));
            for (side, given) in [(&request.head, &given["head"]), (&request.base, &given["base"])] {
                assert_eq!((&*side.branch, &*side.commit), (text(&given["ref"]), text(&given["sha"])));
                assert_eq!(side.repository, text(&given["repo"]["full_name"]));
            }
        }
    }
}

#[test]
fn every_payload_of_every_forge_is_normalised_or_answered() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for (name, received, _) in payloads(&corpora)? {
        let folder = name.split('/').next().unwrap_or_default();
        let (events, no_runs) = counts.entry(folder.to_owned()).or_default();
        assert!(!received.repository.name.is_empty() || name.starts_with("github/"), "{name}");
        for what in &received.what {
            match what {
                What::Event(_) => *events += 1,
                What::NoRun(reason) => {
                    assert!(!reason.is_empty(), "{name}");
                    *no_runs += 1;
                }
            }
        }
    }
    println!("events and others: {counts:?}");
    assert_eq!(counts.len(), FOLDERS.len());
    assert!(counts.values().all(|(events, _)| *events > 0), "{counts:?}");
    Ok(())
}

#[test]
fn pushes_tags_and_pull_requests_agree_with_the_golden_files() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let mut agreed: BTreeMap<String, u32> = BTreeMap::new();
    for (name, received, golden) in payloads(&corpora)? {
        let (Some(golden), [What::Event(event)]) = (golden, &received.what[..]) else { continue };
        repository(&name, &received, &golden["Repo"]);
        let sender = text(&golden["Sender"]["Login"]);
        assert!(received.sender.login == sender || sender.is_empty(), "{name}: {:?}", received.sender);
        let kind = match event {
            Event::Push(told) => push(&name, told, &golden),
            Event::Created(change) => ref_change(&name, change, &golden, "created"),
            Event::Deleted(change) => ref_change(&name, change, &golden, "deleted"),
            Event::PullRequest(request) => pull_request(&name, request, &golden),
        };
        *agreed.entry(format!("{} {kind}", name.split('/').next().unwrap_or_default())).or_default() += 1;
    }
    println!("{} agree: {agreed:?}", agreed.values().sum::<u32>());
    for (folder, _) in FOLDERS {
        assert!(agreed.keys().any(|key| key.starts_with(folder)), "{folder}: {agreed:?}");
    }
    for kind in ["push", "created", "deleted", "pull request"] {
        assert!(agreed.keys().any(|key| key.ends_with(kind)), "{kind}: {agreed:?}");
    }
    Ok(())
}

/// A payload of another version of the forge may lack any of its fields. Only a ref, and where a push left it, are needed.
#[test]
fn no_other_field_of_a_genuine_payload_is_needed() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let mut tried = 0;
    for (folder, forge) in FOLDERS {
        for file in fs::read_dir(corpora.join("forge-webhooks").join(folder))? {
            let file = file?.path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let body: Value = serde_json::from_slice(&fs::read(&file)?)?;
            let event = event_name(forge, &stem, &body);
            // Of the others nothing but the repository is read.
            if let [What::NoRun(_)] = &send(forge, &event, body.to_string().as_bytes())?.what[..] {
                continue;
            }
            let mut all = Vec::new();
            places(&body, "", &mut all);
            // Most of them are addresses that nothing reads.
            all.retain(|place| !place.ends_with("url"));
            for place in all {
                let mut other = body.clone();
                *other.pointer_mut(&place).ok_or("it was found there")? = Value::Null;
                let answer = send(forge, &event, other.to_string().as_bytes());
                let needed = matches!(&answer, Err(Rejected::Malformed { why })
                    if why.starts_with("ref is ") || why.starts_with("after is "));
                assert!(answer.is_ok() || needed, "{folder}/{stem} {place}: {answer:?}");
                tried += 1;
            }
        }
    }
    println!("{tried} payloads that lack a field");
    assert!(tried > 1000);
    Ok(())
}

fn repository(name: &str, received: &Received, golden: &Value) {
    let expected = format!("{}/{}", text(&golden["Namespace"]), text(&golden["Name"]));
    assert_eq!(received.repository.name, expected, "{name}");
    let clone = text(&golden["Clone"]);
    // Old payloads of a Data Center have no links.
    if !clone.is_empty() {
        assert_eq!(received.repository.http_url, clone, "{name}");
        assert!(received.repository.is_cloned_from(clone), "{name}");
    }
    // Neither Bitbucket says it in webhooks; the golden files of a Data Center have a constant there.
    if !name.starts_with("bitbucket/") && !name.starts_with("stash/") {
        assert_eq!(received.repository.default_branch, text(&golden["Branch"]), "{name}");
    }
}

fn push(name: &str, push: &Push, golden: &Value) -> &'static str {
    // A branch that a Data Center tells of as new, the golden files call created, with a short name.
    if let Some(short) = golden["Ref"]["Name"].as_str() {
        assert_eq!(push.git_ref.split('/').skip(2).collect::<Vec<_>>().join("/"), short, "{name}");
        assert!(push.created, "{name}");
        let commit = text(&golden["Ref"]["Sha"]);
        assert!(commit.is_empty() || push.commit == commit, "{name}: {push:?}");
        return "push";
    }
    assert_eq!(push.git_ref, text(&golden["Ref"]), "{name}");
    assert_eq!(push.commit, text(&golden["Commit"]["Sha"]), "{name}");
    let (before, after) = (text(&golden["Before"]), text(&golden["After"]));
    assert!(after.is_empty() || push.after == after, "{name}: {push:?}");
    let zeros = before.bytes().all(|b| b == b'0');
    // The golden files of Gogs have no "before", though the payloads do.
    if !name.starts_with("gogs/") {
        assert_eq!(push.before, if zeros { "" } else { before }, "{name}");
        assert_eq!(push.created, zeros, "{name}");
    }
    if let Some(Commit { message, author }) = &push.head {
        let title = message.lines().next().unwrap_or_default();
        assert_eq!(title, text(&golden["Commit"]["Message"]).lines().next().unwrap_or_default(), "{name}");
        assert_eq!(author.name, text(&golden["Commit"]["Author"]["Name"]), "{name}");
    }
    "push"
}

fn ref_change(name: &str, change: &RefChange, golden: &Value, action: &'static str) -> &'static str {
    assert_eq!(text(&golden["Action"]), action, "{name}");
    let short = change.git_ref.split('/').skip(2).collect::<Vec<_>>().join("/");
    assert_eq!(short, text(&golden["Ref"]["Name"]), "{name}");
    let commit = text(&golden["Ref"]["Sha"]);
    assert!(commit.is_empty() || change.commit == commit, "{name}: {change:?}");
    action
}

fn pull_request(name: &str, request: &PullRequest, golden: &Value) -> &'static str {
    let golden_request = &golden["PullRequest"];
    assert_eq!(Some(request.number), golden_request["Number"].as_u64(), "{name}");
    assert_eq!(request.title, text(&golden_request["Title"]), "{name}");
    assert_eq!(request.head.commit, text(&golden_request["Sha"]), "{name}");
    assert_eq!(request.head.branch, text(&golden_request["Source"]), "{name}");
    assert_eq!(request.base.branch, text(&golden_request["Target"]), "{name}");
    assert_eq!(request.merged, golden_request["Merged"] == true, "{name}");
    // "Fork" is the head's repository, also when it is no fork. (Of GitLab, the golden files have a display name there.)
    if !name.starts_with("gitlab/") {
        assert_eq!(request.head.repository, text(&golden_request["Fork"]), "{name}");
        let base = format!("{}/{}", text(&golden["Repo"]["Namespace"]), text(&golden["Repo"]["Name"]));
        assert_eq!(request.from_fork, request.head.repository != base, "{name}");
    }
    let base = text(&golden_request["Base"]["Sha"]);
    assert!(base.is_empty() || request.base.commit == base, "{name}: {request:?}");
    // GitLab names an author only where that is the one who acts. Bitbucket Cloud has no ref for pull requests.
    let author = text(&golden_request["Author"]["Login"]);
    assert!(request.author.login == author || request.author.login.is_empty(), "{name}: {request:?}");
    assert!(request.fetch_ref == text(&golden_request["Ref"]) || request.fetch_ref.is_empty(), "{name}");
    let action = match text(&golden["Action"]) {
        "synchronized" => "synchronize",
        "merged" => "closed",
        "updated" => "edited",
        // The golden files say so of every change of the draft's mark; this one was set.
        "review_ready" => "converted_to_draft",
        other => other,
    };
    assert_eq!(request.action.as_str(), action, "{name}");
    "pull request"
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
