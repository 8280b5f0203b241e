//! What is peculiar to one forge or another, and what several refs in one push come to.

mod support;

use forge::{Action, Event, Forge, Rejected, What, receive};
use serde_json::{Value, json};
use support::payloads::{OTHER, ZERO, hub, only_push, only_request, pull_request, push, sent};
use support::{NOW, SECRET, SHA, headers};

#[test]
fn github_says_the_commit_behind_an_annotated_tag_beside_the_tag() -> Result<(), Rejected> {
    let body =
        hub(json!({ "ref": "refs/tags/v1", "before": ZERO, "after": OTHER, "created": true, "commits": [],
        "head_commit": { "id": SHA, "message": "title" } }));
    let received = sent(Forge::GitHub, "push", &body)?;
    let told = only_push(&received);
    assert_eq!((&*told.after, &*told.commit, told.created), (OTHER, SHA, true));
    // A new ref at an old commit lists nothing, and that is not "nothing was changed".
    assert!(!told.changed.whole);
    assert_eq!(received.deliveries().all[0].event.commit, SHA);
    let forced = hub(json!({ "ref": "refs/heads/x", "before": OTHER, "after": SHA, "forced": true }));
    assert_eq!(only_push(&sent(Forge::GitHub, "push", &forced)?).forced, Some(true));
    Ok(())
}

#[test]
fn a_list_of_commits_that_ends_early_is_not_whole() -> Result<(), Rejected> {
    let commit = |n: usize| json!({ "id": format!("{n:040}"), "modified": ["a"] });
    let with = |forge, count: usize, total: u64| {
        let commits: Vec<Value> = (0..count).map(commit).collect();
        let body = hub(json!({ "ref": "refs/heads/x", "before": OTHER, "after": SHA, "commits": commits,
            "total_commits": total, "total_commits_count": total, "object_kind": "push" }));
        sent(forge, "push", &body).map(|received| only_push(&received).changed.whole)
    };
    assert!(with(Forge::GitHub, 2047, 0)? && !with(Forge::GitHub, 2048, 0)?);
    assert!(with(Forge::Gitea, 5, 5)? && !with(Forge::Gitea, 5, 6)? && !with(Forge::Forgejo, 5, 0)?);
    assert!(with(Forge::GitLab, 20, 20)? && !with(Forge::GitLab, 20, 21)?);
    assert!(!with(Forge::Gogs, 1, 1)?);
    Ok(())
}

#[test]
fn gogs_tells_of_a_tag_by_its_creation_alone() -> Result<(), Rejected> {
    let tag = |sha: &str| hub(json!({ "ref": "v1", "ref_type": "tag", "sha": sha }));
    let received = sent(Forge::Gogs, "create", &tag(SHA))?;
    let told = only_push(&received);
    assert_eq!((&*told.git_ref, &*told.commit, told.created), ("refs/tags/v1", SHA, true));
    // Old versions do not say where it is: it is looked up.
    let old = sent(Forge::Gogs, "create", &tag(""))?;
    assert_eq!(old.deliveries().all[0].event.commit, "");
    // Of a branch there is a push as well, and of Gitea's and GitHub's tags, too.
    let branch = hub(json!({ "ref": "x", "ref_type": "branch" }));
    for (forge, body) in [(Forge::Gogs, &branch), (Forge::Gitea, &tag(SHA)), (Forge::GitHub, &tag(SHA))] {
        let received = sent(forge, "create", body)?;
        assert!(matches!(&received.what[..], [What::Event(Event::Created(_))]), "{received:?}");
        assert!(received.deliveries().all.is_empty());
    }
    Ok(())
}

#[test]
fn deletions_are_told_in_every_way_in_which_forges_tell_them() -> Result<(), Rejected> {
    let short = hub(json!({ "ref": "v1", "ref_type": "tag" }));
    let pushed = hub(json!({ "ref": "refs/tags/v1", "before": SHA, "after": ZERO, "deleted": true }));
    let gitlab = json!({ "object_kind": "tag_push", "ref": "refs/tags/v1", "before": SHA, "after": ZERO });
    let cloud = json!({ "push": { "changes": [{ "new": null,
        "old": { "type": "tag", "name": "v1", "target": { "hash": SHA } } }] } });
    let stash = json!({ "changes": [{ "refId": "refs/tags/v1", "fromHash": SHA, "toHash": ZERO }] });
    for (forge, event, body) in [
        (Forge::GitHub, "delete", &short),
        (Forge::Gogs, "delete", &short),
        (Forge::Forgejo, "delete", &short),
        (Forge::GitHub, "push", &pushed),
        (Forge::GitLab, "Tag Push Hook", &gitlab),
        (Forge::Bitbucket, "repo:push", &cloud),
        (Forge::BitbucketDataCenter, "repo:refs_changed", &stash),
    ] {
        let received = sent(forge, event, body)?;
        let [What::Event(Event::Deleted(change))] = &received.what[..] else { panic!("{received:?}") };
        assert_eq!(change.git_ref, "refs/tags/v1", "{forge:?}");
        assert!(change.commit == SHA || event == "delete", "{forge:?}: {change:?}");
        assert_eq!(received.deliveries().reason().as_deref(), Some("refs/tags/v1 was deleted"));
    }
    Ok(())
}

#[test]
fn gitlabs_updates_are_told_apart() -> Result<(), Rejected> {
    let (event, opened) = pull_request(Forge::GitLab).expect("it has merge requests");
    let changed = |current: Value| json!({ "previous": null, "current": current });
    let labels =
        |previous: Value, current: Value| json!({ "labels": { "previous": previous, "current": current } });
    for (action, oldrev, changes, expected) in [
        ("open", "", json!({}), Action::Opened),
        ("update", OTHER, json!({}), Action::Synchronize),
        (
            "update",
            "",
            json!({ "draft": changed(json!(true)), "title": changed(json!("x")) }),
            Action::ConvertedToDraft,
        ),
        ("update", "", json!({ "draft": changed(json!(false)) }), Action::ReadyForReview),
        ("update", "", json!({ "title": changed(json!("x")) }), Action::Edited),
        ("update", "", labels(json!([]), json!([{}])), Action::Labeled),
        ("update", "", labels(json!([{}]), json!([])), Action::Unlabeled),
        ("update", "", json!({}), Action::Unlisted("update".to_owned())),
        ("reopen", "", json!({}), Action::Reopened),
        ("close", "", json!({}), Action::Closed),
        ("merge", "", json!({}), Action::Closed),
        ("approved", "", json!({}), Action::Unlisted("approved".to_owned())),
    ] {
        let mut body = opened.clone();
        body["object_attributes"]["action"] = action.into();
        body["object_attributes"]["oldrev"] = oldrev.into();
        body["changes"] = changes;
        let received = sent(Forge::GitLab, event, &body)?;
        let told = only_request(&received);
        assert_eq!((&told.action, &*told.before), (&expected, oldrev), "{action} {body}");
    }
    // Who reopens it is not its author, unless the numbers say so.
    let mut other = opened;
    other["object_attributes"]["action"] = "reopen".into();
    other["user"]["id"] = 4.into();
    assert_eq!(only_request(&sent(Forge::GitLab, event, &other)?).author.shown(), "");
    Ok(())
}

#[test]
fn gitlabs_tag_is_built_where_it_points_to() -> Result<(), Rejected> {
    let body = json!({ "object_kind": "tag_push", "ref": "refs/tags/v1", "before": ZERO, "after": OTHER,
        "checkout_sha": SHA, "project": { "path_with_namespace": "a/b/c" } });
    let received = sent(Forge::GitLab, "System Hook", &body)?;
    let told = only_push(&received);
    assert_eq!((&*told.after, &*told.commit, told.created), (OTHER, SHA, true));
    assert_eq!(received.repository.name, "a/b/c");
    Ok(())
}

#[test]
fn several_refs_in_one_push_are_several_deliveries_with_keys_of_their_own() -> Result<(), Rejected> {
    let change = |git_ref: &str, to: &str| json!({ "refId": git_ref, "fromHash": OTHER, "toHash": to });
    let body = json!({ "changes": [change("refs/heads/a", SHA), change("refs/heads/-b", SHA), change("refs/heads/c", ZERO),
        change("refs/notes/d", SHA), change("refs/tags/e", SHA)] });
    let received = sent(Forge::BitbucketDataCenter, "repo:refs_changed", &body)?;
    assert_eq!(received.what.len(), 5);
    let told = received.deliveries();
    let refs: Vec<&str> = told.all.iter().map(|one| &*one.event.git_ref).collect();
    assert_eq!(refs, ["refs/heads/a", "refs/tags/e"]);
    let keys: Vec<&str> = told.all.iter().map(|one| &*one.key).collect();
    assert_eq!(keys, ["bitbucket-data-center:d-1", "bitbucket-data-center#4:d-1"]);
    assert_ne!(told.all[0].digest, told.all[1].digest);
    let reason = told.reason().expect("three of them start nothing");
    for part in ["refs/heads/-b", "refs/heads/c was deleted", "refs/notes/d is neither"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(received.deliveries(), told, "the same each time");
    // Without an id, digests tell them apart, and the longest id leaves the keys within their limit.
    let body = body.to_string();
    let mut headers = headers(Forge::BitbucketDataCenter, "repo:refs_changed", body.as_bytes());
    headers.insert("x-request-id", "i".repeat(200));
    let all = receive(&headers, body.as_bytes(), SECRET, NOW)?.deliveries().all;
    assert!(all.iter().all(|one| one.key.len() <= domain::limits::MAX_KEY_BYTES));
    headers.remove("x-request-id");
    assert!(
        receive(&headers, body.as_bytes(), SECRET, NOW)?
            .deliveries()
            .all
            .iter()
            .all(|one| one.key.is_empty())
    );
    // One alone that is bad is an error of the webhook, and none at all has its reason.
    let alone = json!({ "changes": [change("refs/heads/-b", SHA)] });
    assert!(sent(Forge::BitbucketDataCenter, "repo:refs_changed", &alone).is_err());
    let none = sent(Forge::BitbucketDataCenter, "repo:refs_changed", &json!({}))?;
    assert_eq!(none.deliveries().reason().as_deref(), Some("the push names no ref"));
    Ok(())
}

#[test]
fn many_reasons_are_shown_in_short() -> Result<(), Rejected> {
    let change = |n: usize| json!({ "refId": format!("refs/heads/{n}"), "fromHash": SHA, "toHash": ZERO });
    let body = json!({ "changes": (0..4000).map(change).collect::<Vec<_>>() });
    let reason = sent(Forge::BitbucketDataCenter, "repo:refs_changed", &body)?.deliveries().reason();
    assert!(
        reason.as_deref().is_some_and(|why| why.ends_with("and 3995 more") && why.len() < 500),
        "{reason:?}"
    );
    // A list without end is read up to a limit, and what is beyond it is said.
    let endless = json!({ "changes": (0..5000).map(change).collect::<Vec<_>>() });
    let received = sent(Forge::BitbucketDataCenter, "repo:refs_changed", &endless)?;
    let last = received.what.last();
    assert!(matches!(last, Some(What::NoRun(why)) if why.contains("4096")), "{last:?}");
    Ok(())
}

#[test]
fn a_data_centers_names_differ_from_its_urls_in_case_alone() -> Result<(), Rejected> {
    let body = json!({ "repository": { "slug": "my-repo", "project": { "key": "PRJ" } }, "test": true });
    let received = sent(Forge::BitbucketDataCenter, "repo:modified", &body)?;
    for (url, same) in [
        ("https://git.example/scm/prj/my-repo.git", true),
        ("ssh://git@git.example:7999/prj/my-repo.git/", true),
        ("git@git.example:prj/my-repo.git", true),
        ("https://git.example/scm/xprj/my-repo.git", false),
        ("https://git.example/scm/prj/my-repo2.git", false),
        ("my-repo", false),
        ("", false),
    ] {
        assert_eq!(received.repository.is_cloned_from(url), same, "{url}");
    }
    Ok(())
}

#[test]
fn labels_and_what_was_written_are_kept_as_github_shapes_them() -> Result<(), Rejected> {
    let payload = |received: &forge::Received| -> Value {
        serde_json::from_str(&received.deliveries().all[0].event.payload).expect("it is JSON")
    };
    let labels = json!([{ "name": "urgent" }, { "name": "docs" }]);
    for forge in [Forge::GitHub, Forge::Gitea, Forge::Forgejo] {
        let (event, mut body) = pull_request(forge).expect("it has pull requests");
        body["action"] = "labeled".into();
        body["label"] = json!({ "name": "urgent", "color": "red" });
        body["pull_request"]["labels"] = labels.clone();
        body["pull_request"]["body"] = "Closes #1\n\nPlease.".into();
        let told = payload(&sent(forge, event, &body)?);
        assert_eq!(told["pull_request"]["labels"], labels, "{forge:?}");
        assert_eq!(told["pull_request"]["body"], "Closes #1\n\nPlease.");
        assert_eq!(told["pull_request"]["head"]["repo"], json!({ "full_name": "eve/r", "fork": true }));
        assert!(told["label"]["name"] == "urgent" || forge != Forge::GitHub, "{told}");
    }
    let (event, mut body) = pull_request(Forge::GitLab).expect("it has merge requests");
    body["object_attributes"]["action"] = "update".into();
    body["object_attributes"]["description"] = "Why".into();
    body["labels"] = json!([{ "title": "urgent" }]);
    body["changes"] = json!({ "labels": { "previous": [], "current": [{ "title": "urgent" }] } });
    let told = payload(&sent(Forge::GitLab, event, &body)?);
    assert_eq!((&told["action"], &told["label"]["name"]), (&json!("labeled"), &json!("urgent")));
    assert_eq!(told["pull_request"]["labels"], json!([{ "name": "urgent" }]));
    let (event, plain) = pull_request(Forge::GitHub).expect("it has pull requests");
    let told = payload(&sent(Forge::GitHub, event, &plain)?);
    assert_eq!((&told["pull_request"]["body"], &told["label"]), (&Value::Null, &Value::Null));
    Ok(())
}

#[test]
fn the_whole_message_of_the_head_commit_is_kept() -> Result<(), Rejected> {
    for forge in Forge::ALL {
        let (event, body) = push(forge);
        let received = sent(forge, event, &body)?;
        let told = only_push(&received).head.clone().unwrap_or_default();
        assert_eq!((&*told.title(), &*told.message), ("title", "title\n\nrest"), "{forge:?}");
        let event = &received.deliveries().all[0].event;
        let payload: Value = serde_json::from_str(&event.payload).unwrap_or_default();
        assert_eq!((&*event.title, &payload["head_commit"]["message"]), ("title", &json!("title\n\nrest")));
    }
    Ok(())
}

#[test]
fn a_branch_may_have_a_part_that_begins_with_a_dash_but_not_begin_with_one() -> Result<(), Rejected> {
    let at = |name: &str| {
        let body = hub(json!({ "ref": format!("refs/heads/{name}"), "before": OTHER, "after": SHA }));
        sent(Forge::GitHub, "push", &body)
    };
    assert_eq!(only_push(&at("feature/-x")?).git_ref, "refs/heads/feature/-x");
    let Err(Rejected::Malformed { why }) = at("-x") else { panic!("it is taken") };
    assert!(why.contains("does not begin with -"), "{why}");
    Ok(())
}
