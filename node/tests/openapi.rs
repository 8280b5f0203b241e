//! `/v1/openapi.json` and the node say the same: each operation that is described is there, nothing else is, and
//! answers are as described.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod openapi_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use openapi_support::{Description, METHODS, Operation};
use reqwest::Method;
use serde_json::{Value, json};
use support::Alone;

/// Every object within a value, with the pointer to it.
fn objects<'a>(value: &'a Value, at: &str, visit: &mut dyn FnMut(&str, &'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(at, fields);
            fields.iter().for_each(|(key, value)| objects(value, &format!("{at}/{key}"), visit));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| objects(value, &format!("{at}/{index}"), visit));
        }
        _ => {}
    }
}

fn names_in(path: &str) -> BTreeSet<&str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_whole() {
    let node = Alone::start().await;
    let description = Description::of(&node).await;
    let document = &description.0;
    assert_eq!(document["openapi"], "3.1.0");
    // References lead somewhere, and what is defined is referred to.
    let mut used = BTreeSet::new();
    objects(document, "#", &mut |at, fields| {
        if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{at}: {target}");
            used.insert(target.to_owned());
        }
    });
    for kind in ["schemas", "responses", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing refers to {kind}/{name}");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let operations = description.operations();
    let mut ids = BTreeSet::new();
    for operation in &operations {
        check_operation(&description, operation);
        assert!(ids.insert(operation.about["operationId"].to_string()), "{} is there twice", operation.about);
    }
    node.stop().await;
}

fn check_operation(description: &Description, operation: &Operation) {
    let document = &description.0;
    let (name, about) = (operation.name(), &operation.about);
    let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert!(filled(&about["summary"]) && filled(&about["operationId"]), "{name}: {about}");
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert!(tags.contains(&&about["tags"][0]), "{name}: {}", about["tags"]);
    let of_path = operation.parameters.iter().filter(|one| one["in"] == "path");
    let declared: Vec<_> = of_path.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(declared.len(), names_in(&operation.path).len(), "{name}");
    assert_eq!(declared.into_iter().collect::<BTreeSet<_>>(), names_in(&operation.path), "{name}");
    let mut seen = BTreeSet::new();
    for one in &operation.parameters {
        assert!(seen.insert((one["in"].to_string(), one["name"].to_string())), "{name}: {one}");
        assert!(filled(&one["description"]), "{name}: {one}");
        assert_eq!(one["required"], json!(one["in"] == "path"), "{name}: {one}");
        jsonschema::draft202012::meta::validate(&one["schema"]).unwrap();
        if !one["example"].is_null() {
            assert!(jsonschema::is_valid(&one["schema"], &one["example"]), "{name}: {one}");
        }
    }
    for one in about["security"].as_array().unwrap() {
        for scheme in one.as_object().unwrap().keys() {
            assert!(document["components"]["securitySchemes"][scheme].is_object(), "{name}: {scheme}");
        }
    }
    let responses = about["responses"].as_object().unwrap();
    assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
    for (status, answer) in responses {
        let answer = description.resolve(answer);
        assert!(filled(&answer["description"]), "{name}: {status}");
        let problem = answer["content"]["application/problem+json"].is_object();
        assert_eq!(problem, !status.starts_with('2'), "{name}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_in_docs_is_fresh() {
    let node = Alone::start().await;
    let Description(document) = Description::of(&node).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let stored =
        std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if stored.as_ref() != Some(&document) {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
        std::fs::write(&new, format!("{document:#}\n")).unwrap();
        panic!("the API has changed; if that is meant: cp {} docs/openapi.json", new.display());
    }
    node.stop().await;
}

/// Requests and rights as `docs/api.md` names them: in the first two columns of its table.
fn requests_in_docs() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let requests = rows.filter(|(request, _)| request.contains(" /"));
    requests
        .map(|(request, rest)| (request.to_owned(), rest.split(" |").next().unwrap().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_has_the_same_requests_and_rights() {
    let node = Alone::start().await;
    let description = Description::of(&node).await;
    let right = |one: &Operation| match one.right() {
        Some(right) => right.to_owned(),
        None if one.about["security"] == json!([]) => "none".to_owned(),
        None => "signature".to_owned(),
    };
    let described: BTreeMap<_, _> =
        description.operations().iter().map(|one| (one.name(), right(one))).collect();
    assert_eq!(requests_in_docs(), described);
    node.stop().await;
}

/// A token of each right.
async fn tokens(node: &Alone) -> BTreeMap<&'static str, String> {
    let mut tokens = BTreeMap::new();
    for right in ["read", "submit", "admin"] {
        let (_, made) = node.post("/v1/tokens", json!({ "name": right, "right": right })).await;
        tokens.insert(right, made["token"].as_str().unwrap().to_owned());
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_answered_and_takes_the_right_that_is_described() {
    let node = Alone::start().await;
    let description = Description::of(&node).await;
    let tokens = tokens(&node).await;
    for operation in description.operations() {
        let name = operation.name();
        let request = || node.http.request(operation.method(), node.url(&operation.example()));
        let Some(right) = operation.right() else {
            let answer = description.send(&operation, request()).await;
            assert!(!["no_route", "method_not_allowed"].contains(&answer.is().1), "{name}: {answer:?}");
            // Only a webhook is refused without a token: for want of its headers here.
            assert_eq!(answer.status == 400, operation.path.starts_with("/v1/hooks"), "{name}: {answer:?}");
            continue;
        };
        let bare = description.send(&operation, request()).await;
        assert_eq!(bare.is(), (401, "unauthorized"), "{name}");
        for (at, less) in [("submit", "read"), ("admin", "read"), ("admin", "submit")] {
            if at == right {
                let answer = description.send(&operation, request().bearer_auth(&tokens[less])).await;
                assert_eq!(answer.is(), (403, "forbidden"), "{name} with {less}");
            }
        }
        let answer = description.send(&operation, request().bearer_auth(&tokens[right])).await;
        let refused = ["unauthorized", "forbidden", "no_route", "method_not_allowed", "internal"];
        assert!(!refused.contains(&answer.is().1), "{name} with {right}: {answer:?}");
    }
    node.stop().await;
}

/// Paths with a part more and a part less than those that there are, which are none of them; a name that takes several
/// parts takes one more.
fn beside(paths: &BTreeMap<String, (String, BTreeSet<String>)>) -> Vec<String> {
    let takes_more = |path: &str| {
        let named = |other: &String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with("/{"));
        path.contains("{repo}") || path.contains("{path}") || paths.keys().any(named)
    };
    let longer = paths.iter().filter(|(path, _)| !takes_more(path));
    let shorter = paths.iter().filter_map(|(path, (example, _))| {
        let path = path.rsplit_once('/')?.0;
        let unknown = !path.is_empty() && !paths.contains_key(path);
        unknown.then(|| example.rsplit_once('/').map(|(before, _)| before.to_owned()))?
    });
    longer.map(|(_, (example, _))| format!("{example}/more")).chain(shorter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_described_is_not_there() {
    let node = Alone::start().await;
    let description = Description::of(&node).await;
    let mut paths: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for operation in description.operations() {
        let (_, methods) =
            paths.entry(operation.path.clone()).or_insert((operation.example(), BTreeSet::new()));
        methods.insert(operation.method.clone());
        // As the description says of all of them.
        if operation.method == "get" {
            methods.insert("head".to_owned());
        }
    }
    for (path, (example, methods)) in &paths {
        for method in METHODS.map(str::to_owned) {
            let wanted: Method = method.to_uppercase().parse().unwrap();
            let answer = node.authorized(wanted, example).send().await.unwrap();
            assert_eq!(answer.status() != 405, methods.contains(&method), "{method} {path}: {answer:?}");
            if answer.status() == 405 {
                let allowed = answer.headers()["allow"].to_str().unwrap().to_ascii_lowercase();
                assert_eq!(
                    &allowed.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(),
                    methods,
                    "{path}"
                );
                let problem: Value = answer.json().await.unwrap_or_default();
                assert!(method == "head" || problem["code"] == "method_not_allowed", "{path}: {problem}");
            }
        }
    }
    for path in beside(&paths).into_iter().chain(["/".to_owned(), "/v2/runs".to_owned()]) {
        let (status, problem) = node.get(&path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_route")), "{path}: {problem}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_refused_outside_of_what_is_described() {
    let node = Alone::start().await;
    let description = Description::of(&node).await;
    for operation in description.operations().iter().filter(|one| one.method == "get") {
        let ask = async |name: &str, value: &str| {
            let path = format!("{}?{name}={value}", operation.example());
            let answer = description.send(operation, node.authorized(Method::GET, &path)).await;
            (answer.status == 400).then(|| answer.body["field"].clone())
        };
        assert_eq!(ask("unheard-of", "1").await, Some(json!("unheard-of")), "{}", operation.name());
        for one in operation.parameters.iter().filter(|one| one["in"] == "query") {
            let (name, schema) = (one["name"].as_str().unwrap(), &one["schema"]);
            let named = |value: &str| format!("{} with {name}={value}", operation.name());
            let any = schema["pattern"] == "^.*$";
            let (mut good, mut bad) = (Vec::new(), if any { Vec::new() } else { vec!["!".to_owned()] });
            if let Some(most) = schema["maximum"].as_u64() {
                good.push(most.to_string());
                bad.push((most + 1).to_string());
            }
            if let Some(least) = schema["minimum"].as_u64() {
                good.push(least.to_string());
                bad.push((i128::from(least) - 1).to_string());
            }
            good.extend(
                schema["enum"].as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()),
            );
            good.extend(one["example"].as_str().map(|text| text.replace('/', "%2F")));
            if schema["type"] == "boolean" {
                good.extend(["true".to_owned(), "false".to_owned()]);
            }
            assert!(!good.is_empty(), "{one}");
            for value in good {
                assert_eq!(ask(name, &value).await, None, "{}", named(&value));
            }
            for value in bad {
                assert_eq!(ask(name, &value).await, Some(json!(name)), "{}", named(&value));
            }
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_refused_outside_of_what_is_described() {
    let node = Alone::start().await;
    node.add_repo("team/app").await;
    let description = Description::of(&node).await;
    let bad = [
        ("POST /v1/runs", json!({ "script": "" }), "script"),
        ("POST /v1/runs", json!({ "script": "x", "priority": 101 }), "priority"),
        ("POST /v1/runs", json!({ "script": "x", "priority": -101 }), "priority"),
        ("POST /v1/runs", json!({ "script": "x", "timeout_seconds": 0 }), "timeout_seconds"),
        ("POST /v1/runs", json!({ "script": "x", "timeout_seconds": 604_801 }), "timeout_seconds"),
        ("POST /v1/runs", json!({ "script": "x", "cpu_millis": 99 }), "cpu_millis"),
        ("POST /v1/runs", json!({ "script": "x", "cpu_millis": 256_001 }), "cpu_millis"),
        ("POST /v1/runs", json!({ "script": "x", "memory_mib": 15 }), "memory_mib"),
        ("POST /v1/runs", json!({ "script": "x", "memory_mib": (4 << 20) + 1 }), "memory_mib"),
        ("POST /v1/runs", json!({ "script": "x", "labels": [""] }), "labels"),
        ("POST /v1/runs", json!({ "script": "x", "labels": ["x".repeat(101)] }), "labels"),
        ("POST /v1/runs", json!({ "script": "x", "labels": vec!["x"; 65] }), "labels"),
        ("POST /v1/runs", json!({ "script": "x", "name": "x".repeat(201) }), "name"),
        ("POST /v1/runs", json!({ "script": "x", "image": "x".repeat(513) }), "image"),
        ("POST /v1/runs", json!({ "script": "x", "scirpt": "x" }), "body"),
        ("POST /v1/runs", json!({}), "body"),
        ("PUT /v1/repos/{repo}", json!({ "clone_url": "", "webhook_secret": "x".repeat(8) }), "clone_url"),
        (
            "PUT /v1/repos/{repo}",
            json!({ "clone_url": "https://h/x.git", "webhook_secret": "x".repeat(257) }),
            "webhook_secret",
        ),
        ("PUT /v1/repos/{repo}", json!({ "webhook_secret": "x".repeat(8) }), "body"),
        (
            "PUT /v1/repos/{repo}",
            json!({ "clone_url": "https://h/x.git", "statuses": { "forge": "gogs", "api_url": "https://h", "token": "t" } }),
            "statuses.forge",
        ),
        ("PUT /v1/repos/{repo}/secrets/{secret}", json!({ "value": "" }), "value"),
        ("PUT /v1/repos/{repo}/secrets/{secret}", json!({ "value": "x", "name": "x" }), "body"),
        ("POST /v1/repos/{repo}/dispatch", json!({ "workflow": "" }), "workflow"),
        ("POST /v1/repos/{repo}/dispatch", json!({ "workflow": "x".repeat(513) }), "workflow"),
        ("POST /v1/nodes/{node}/drain", json!({ "drain": "yes" }), "body"),
        (
            "POST /v1/nodes/{node}/drain",
            json!({ "drain": true, "deadline_seconds": 604_801 }),
            "deadline_seconds",
        ),
        ("POST /v1/tokens", json!({ "name": "", "right": "read" }), "name"),
        ("POST /v1/tokens", json!({ "name": "x".repeat(101), "right": "read" }), "name"),
        ("POST /v1/tokens", json!({ "name": "x", "right": "root" }), "body"),
        (
            "POST /v1/tokens",
            json!({ "name": "x", "right": "read", "expires_in_seconds": 0 }),
            "expires_in_seconds",
        ),
    ];
    for (request, body, field) in bad {
        let (method, path) = request.split_once(' ').unwrap();
        let operation = description.operation(method, path);
        let schema = &operation.about["requestBody"]["content"]["application/json"]["schema"];
        assert!(!description.validator(schema).is_valid(&body), "{request} is described to take {body}");
        // The node of this test is the only one there is.
        let path = operation.example().replace("node-1", "alone");
        let answer =
            description.send(&operation, node.authorized(operation.method(), &path).json(&body)).await;
        let found = (answer.is(), answer.body["field"].as_str());
        assert_eq!(found, ((400, "invalid"), Some(field)), "{request} with {body}: {answer:?}");
    }
    node.stop().await;
}
