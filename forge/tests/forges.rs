//! What each forge sends: told apart by its headers, believed only with its signature, read with its traps.

mod support;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::EventKind;
use forge::{Action, Forge, Rejected, receive};
use serde_json::{Value, json};
use support::payloads::{OTHER, only_push, only_request, places, pull_request, push, sent};
use support::{NOW, SECRET, SHA, headers, hmac, standard};

#[test]
fn every_forge_is_known_by_its_headers_and_its_push_read() -> Result<(), Rejected> {
    for forge in Forge::ALL {
        let (event, body) = push(forge);
        let received = sent(forge, event, &body)?;
        assert_eq!((received.forge, &*received.event_name), (forge, event));
        assert_eq!(received.key, format!("{}:d-1", forge.as_str()));
        assert_eq!((&*received.repository.name, received.sender.shown()), ("o/r", "ada"), "{forge:?}");
        let told = only_push(&received);
        assert_eq!((&*told.git_ref, &*told.commit), ("refs/heads/main", SHA), "{forge:?}");
        assert_eq!((&*told.before, &*told.after, told.created), (OTHER, SHA, false), "{forge:?}");
        let head = told.head.as_ref().expect("every forge says something of the head");
        assert_eq!(head.title(), "title", "{forge:?}");
        // The author is kept apart from who pushed.
        assert_ne!(head.author.shown(), "ada", "{forge:?}");
        let lists = !matches!(forge, Forge::Bitbucket | Forge::BitbucketDataCenter | Forge::Generic);
        assert_eq!(told.changed.paths, if lists { vec!["a", "b"] } else { vec![] }, "{forge:?}");
        assert_eq!(told.changed.whole, lists && forge != Forge::Gogs, "{forge:?}");
        if forge != Forge::Generic {
            assert!(received.repository.is_cloned_from("ssh://git@other.example/o/r"), "{forge:?}");
            assert_eq!(received.repository.http_url, "https://forge.example/o/r.git", "{forge:?}");
        }
        let kept = &received.deliveries().all[0];
        assert_eq!((&*kept.key, kept.digest), (&*received.key, received.digest));
        assert_eq!((&*kept.event.sender, &*kept.event.title, &*kept.event.commit), ("ada", "title", SHA));
        let payload: Value = serde_json::from_str(&kept.event.payload).unwrap_or_default();
        assert_eq!(
            (&payload["ref"], &payload["after"]),
            (&json!("refs/heads/main"), &json!(SHA)),
            "{forge:?}"
        );
        assert_eq!(payload["head_commit"]["message"], "title\n\nrest", "{forge:?}");
        assert_eq!(payload["changed_paths"].is_array(), told.changed.whole, "{forge:?}");
    }
    Ok(())
}

#[test]
fn every_forges_signature_is_needed_and_compared() {
    for forge in Forge::ALL {
        let (event, body) = push(forge);
        let body = body.to_string();
        let good = headers(forge, event, body.as_bytes());
        let name = match forge {
            Forge::GitHub => "x-hub-signature-256",
            Forge::Forgejo => "x-forgejo-signature",
            Forge::Gitea => "x-gitea-signature",
            Forge::Gogs => "x-gogs-signature",
            Forge::GitLab => "x-gitlab-token",
            Forge::Bitbucket | Forge::BitbucketDataCenter => "x-hub-signature",
            Forge::Generic => "webhook-signature",
        };
        let right = good[name].clone();
        let bad = ["", "zz", "sha256=", "v1,", "sha1=00", &right[..right.len() - 2], &format!("{right}00")];
        for signature in bad.into_iter().map(Some).chain([None]) {
            let mut headers = good.clone();
            headers.remove(name);
            headers.extend(signature.map(|signature| (name, signature.to_owned())));
            let answer = receive(&headers, body.as_bytes(), SECRET, NOW);
            assert!(
                matches!(answer, Err(Rejected::Unauthorized { .. })),
                "{forge:?} {signature:?}: {answer:?}"
            );
        }
        assert!(receive(&good, body.as_bytes(), "another secret", NOW).is_err(), "{forge:?}");
        assert!(matches!(
            receive(&good, body.as_bytes(), "", NOW),
            Err(Rejected::Unauthorized { why: "the repository has no secret to check it with" })
        ));
        // GitLab's plain token says nothing of the body; all others do.
        let other = receive(&good, format!(" {body}").as_bytes(), SECRET, NOW);
        assert_eq!(other.is_ok(), forge == Forge::GitLab, "{forge:?}: {other:?}");
    }
}

#[test]
fn a_signing_token_of_gitlab_is_never_taken_as_a_plain_one() -> Result<(), Rejected> {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = STANDARD.decode(&secret[6..]).expect("base64");
    let (event, body) = push(Forge::GitLab);
    let body = body.to_string();
    let mut headers = standard(&key, body.as_bytes());
    headers.insert("x-gitlab-event", event.to_owned());
    headers.insert("idempotency-key", "d-1".to_owned());
    let received = receive(&headers, body.as_bytes(), secret, NOW)?;
    assert_eq!((received.forge, &*received.key), (Forge::GitLab, "gitlab:d-1"));
    assert!(receive(&headers, body.as_bytes(), secret, NOW + 301).is_err(), "an old one is sent again");
    assert!(receive(&headers, format!("{body} ").as_bytes(), secret, NOW).is_err());
    headers.insert("x-gitlab-token", secret.to_owned());
    headers.remove("webhook-signature");
    let answer = receive(&headers, body.as_bytes(), secret, NOW);
    assert_eq!(answer, Err(Rejected::Unauthorized { why: "webhook-signature is missing" }));
    Ok(())
}

#[test]
fn what_follows_from_one_another_in_gitlab_is_not_one_delivery() -> Result<(), Rejected> {
    let (event, body) = push(Forge::GitLab);
    let key = |body: &Value| {
        let body = body.to_string();
        let mut headers = headers(Forge::GitLab, event, body.as_bytes());
        headers.remove("idempotency-key");
        receive(&headers, body.as_bytes(), SECRET, NOW).map(|received| received.key)
    };
    let mut later = body.clone();
    later["ref"] = "refs/heads/other".into();
    assert_eq!(key(&body)?, key(&body)?);
    assert_ne!(key(&body)?, key(&later)?, "both have the UUID of the event that began it");
    assert!(key(&body)?.starts_with("gitlab:e-1/"));
    Ok(())
}

#[test]
fn a_proxys_request_id_does_not_make_a_data_center_of_the_cloud() -> Result<(), Rejected> {
    let (event, body) = push(Forge::Bitbucket);
    let body = body.to_string();
    let mut headers = headers(Forge::Bitbucket, event, body.as_bytes());
    headers.insert("x-request-id", "a proxy's".to_owned());
    let received = receive(&headers, body.as_bytes(), SECRET, NOW)?;
    assert_eq!((received.forge, &*received.key), (Forge::Bitbucket, "bitbucket:d-1"));
    // Nor does one that takes the Cloud's own headers off; then the body's digest is the key.
    headers.retain(|name, _| !name.ends_with("-uuid"));
    let received = receive(&headers, body.as_bytes(), SECRET, NOW)?;
    assert_eq!((received.forge, &*received.key), (Forge::Bitbucket, ""));
    Ok(())
}

#[test]
fn every_forges_pull_request_is_read() -> Result<(), Rejected> {
    for forge in Forge::ALL {
        let Some((event, body)) = pull_request(forge) else { continue };
        let received = sent(forge, event, &body)?;
        assert_eq!((&*received.repository.name, received.sender.shown()), ("o/r", "eve"), "{forge:?}");
        let told = only_request(&received);
        assert_eq!((told.number, &*told.title, &told.action), (7, "Please", &Action::Opened), "{forge:?}");
        assert_eq!((told.author.shown(), told.from_fork, told.merged), ("eve", true, false), "{forge:?}");
        let (head, base) = (&told.head, &told.base);
        assert_eq!((&*head.branch, &*head.repository), ("topic", "eve/r"), "{forge:?}");
        assert_eq!((&*base.branch, &*base.repository), ("main", "o/r"), "{forge:?}");
        let commit = match forge {
            Forge::Gogs => "",
            Forge::Bitbucket => &SHA[..12],
            _ => SHA,
        };
        assert_eq!(head.commit, commit, "{forge:?}");
        let fetched = match forge {
            Forge::GitLab => "refs/merge-requests/7/head",
            Forge::BitbucketDataCenter => "refs/pull-requests/7/from",
            _ => "refs/pull/7/head",
        };
        let delivered = received.deliveries();
        let kept = &delivered.all[0].event;
        assert_eq!((delivered.all.len(), delivered.reason()), (1, None), "{forge:?}");
        assert_eq!(
            (&*kept.git_ref, &*kept.base_ref, &*kept.commit),
            (fetched, "refs/heads/main", commit),
            "{forge:?}"
        );
        assert_eq!(
            (kept.kind, kept.from_fork, &*kept.sender),
            (EventKind::PullRequest, true, "eve"),
            "{forge:?}"
        );
        let payload: Value = serde_json::from_str(&kept.payload).unwrap_or_default();
        assert_eq!((&payload["action"], &payload["number"]), (&json!("opened"), &json!(7)), "{forge:?}");
        let request = &payload["pull_request"];
        assert_eq!(
            (&request["user"]["login"], &request["state"]),
            (&json!("eve"), &json!("open")),
            "{forge:?}"
        );
        assert_eq!(
            request["head"],
            json!({ "ref": "topic", "sha": commit, "repo": { "full_name": "eve/r", "fork": true } })
        );
        assert_eq!(request["base"]["ref"], "main", "{forge:?}");
        assert_eq!(payload["repository"]["full_name"], "o/r", "{forge:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_refused_for_a_field_that_is_not_needed() {
    let strange =
        [json!(null), json!(-1.5), json!(true), json!([[{}]]), json!({ "x": {} }), json!("\u{0}\u{202e}")];
    let mut tried = 0;
    for forge in Forge::ALL.into_iter().filter(|forge| *forge != Forge::Generic) {
        let bodies = [Some(push(forge)), pull_request(forge)];
        for (event, body) in bodies.into_iter().flatten() {
            let mut all = Vec::new();
            places(&body, "", &mut all);
            for (place, strange) in all.iter().flat_map(|place| strange.iter().map(move |one| (place, one))) {
                let mut other = body.clone();
                *other.pointer_mut(place).expect("it was found there") = strange.clone();
                let answer = sent(forge, event, &other);
                // Where a ref is and what it points to, that is needed, and a ref must be one.
                let needed = matches!(&answer, Err(Rejected::Malformed { why })
                    if why.starts_with("ref is ") || why.starts_with("after is "));
                assert!(answer.is_ok() || needed, "{forge:?} {place} {strange}: {answer:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

/// Every byte of every body, one after the other: what comes of it is an answer or an error, never a panic.
#[test]
fn a_byte_that_was_changed_is_an_answer_or_an_error() {
    let (mut answers, mut errors) = (0, 0);
    for forge in Forge::ALL {
        let bodies = [Some(push(forge)), pull_request(forge)];
        for (event, body) in bodies.into_iter().flatten() {
            let body = body.to_string().into_bytes();
            for (at, other) in (0..body.len()).flat_map(|at| [b'"', b'\\', 0xff].map(|other| (at, other))) {
                let mut changed = body.clone();
                changed[at] = other;
                match support::send(forge, event, &changed) {
                    Ok(received) => {
                        assert!(!received.what.is_empty());
                        answers += 1;
                    }
                    Err(Rejected::Malformed { .. }) => errors += 1,
                    Err(other) => panic!("{forge:?} {event}, byte {at}: {other}"),
                }
            }
        }
    }
    assert!(answers > 1000 && errors > 1000, "{answers} and {errors}");
}

#[test]
fn half_a_character_is_no_reason_to_refuse_a_push() -> Result<(), Rejected> {
    let (event, body) = push(Forge::BitbucketDataCenter);
    for (written, read) in [
        (r"a\ud83d", "a\u{fffd}"),
        (r"\udE00\uD83D b", "\u{fffd}\u{fffd} b"),
        (r"\ud83d\ude00", "\u{1f600}"),
        (r#"\\ud83d \"\\"#, "\\ud83d \"\\"),
        (r"\u00e9", "\u{e9}"),
    ] {
        let body = body.to_string().replace(r"title\n\nrest", written);
        let received = support::send(Forge::BitbucketDataCenter, event, body.as_bytes())?;
        let head = only_push(&received).head.as_ref().expect("a head");
        assert_eq!(head.title(), read, "{written}");
    }
    // Cut in the middle of an escape, it is no JSON.
    for body in [r#"{"x":"\ud8"#, r#"{"x":"\u"#, r#"{"x":"\"#, r"\", r#"{"x":"\ud83d\u"#] {
        assert!(support::send(Forge::GitHub, event, body.as_bytes()).is_err(), "{body}");
    }
    Ok(())
}

#[test]
fn what_is_kept_is_short() -> Result<(), Rejected> {
    let long = "x".repeat(100_000);
    let (event, mut body) = push(Forge::GitHub);
    body["head_commit"]["message"] = json!(long);
    body["sender"]["login"] = json!(long);
    body["repository"]["clone_url"] = json!(long);
    body["commits"][0]["added"] = (0..5000).map(|n| format!("{n:05}")).collect();
    let received = sent(Forge::GitHub, event, &body)?;
    let told = only_push(&received);
    assert_eq!(told.head.as_ref().map(|head| (head.title().len(), head.message.len())), Some((200, 4096)));
    assert_eq!(received.sender.login.len(), 200);
    assert!(received.repository.http_url.len() <= 4096);
    assert_eq!((told.changed.paths.len(), told.changed.whole), (3000, false));
    // Not cut in the middle of a letter.
    body["repository"]["clone_url"] = json!("\u{20ac}".repeat(10_000));
    assert_eq!(sent(Forge::GitHub, event, &body)?.repository.http_url.len() % 3, 0);
    Ok(())
}

#[test]
fn pings_and_events_that_start_nothing_are_answered() -> Result<(), Rejected> {
    for (forge, event, body, reason) in [
        (Forge::GitHub, "ping", json!({ "zen": "z" }), "ping"),
        (Forge::BitbucketDataCenter, "diagnostics:ping", json!({ "test": true }), "ping"),
        (Forge::GitLab, "Note Hook", json!({ "object_kind": "note" }), "note"),
        (Forge::Bitbucket, "pullrequest:comment_created", json!({}), "pullrequest:comment_created"),
        (Forge::BitbucketDataCenter, "pr:comment:added", json!({}), "pr:comment:added"),
        (Forge::Gogs, "fork", json!({}), "fork"),
        (Forge::Gitea, "pull_request_approved", json!({}), "pull_request_approved"),
        (Forge::GitHub, "create", json!({ "ref": null, "ref_type": "repository" }), "repository"),
        (Forge::GitHub, "pull_request", json!({ "action": "never_heard_of" }), "pull request"),
        (Forge::Bitbucket, "pullrequest:updated", json!({}), "pull request"),
    ] {
        let told = sent(forge, event, &body)?.deliveries();
        assert!(told.all.is_empty(), "{forge:?} {event}");
        assert!(told.reason().is_some_and(|why| why.contains(reason)), "{forge:?} {event}: {told:?}");
    }
    Ok(())
}

#[test]
fn a_form_is_signed_as_it_is_sent() -> Result<(), Rejected> {
    for forge in [Forge::GitHub, Forge::Gitea, Forge::Forgejo, Forge::Gogs] {
        let (event, body) = push(forge);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &body.to_string())
            .finish();
        let mut headers = headers(forge, event, form.as_bytes());
        headers.insert("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8".to_owned());
        assert_eq!(only_push(&receive(&headers, form.as_bytes(), SECRET, NOW)?).commit, SHA, "{forge:?}");
        let unsigned = form_urlencoded::Serializer::new(String::new()).append_pair("other", "x").finish();
        let signature = format!("sha256={}", hex::encode(hmac(SECRET.as_bytes(), &[unsigned.as_bytes()])));
        let headers = BTreeMap::from([
            ("x-github-event", event.to_owned()),
            ("x-hub-signature-256", signature),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ]);
        let answer = receive(&headers, unsigned.as_bytes(), SECRET, NOW);
        assert!(matches!(&answer, Err(Rejected::Malformed { why }) if why.contains("payload")), "{answer:?}");
    }
    Ok(())
}
