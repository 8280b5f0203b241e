//! Writes the operations as an OpenAPI 3.1 document.
//!
//! Must not know any operation by name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::operation::{Access, Media, Open, Operation, Parameter, Success, Values, of};
use super::schemas::{PLACE, Schemas};
use super::{OPERATIONS, parameters};
use crate::api::dto::TokenRight;
use crate::api::problem::{Code, Problem};

const ABOUT: &str = "Any node answers everything. Changes are committed by a quorum before they are answered; reads are \
    of what the node has applied, and `X-Troupe-Index` says up to which log entry. Times are milliseconds since \
    1970-01-01 UTC. HEAD is answered wherever GET is. Parameters that are not described here are refused.";
const TAGS: [(&str, &str); 5] = [
    ("runs", "One execution of one workflow for one event, or an ad hoc job."),
    ("jobs", "Jobs of runs, their attempts, output and artifacts."),
    ("repositories", "Repositories, their webhooks, and what became of those."),
    ("cluster", "The cluster and its nodes."),
    ("tokens", "Who may use the API."),
];
/// Headers of signatures, by the name of the scheme and of who sends them.
const SIGNATURES: [(&str, &str, &str); 7] = [
    ("githubSignature", "X-Hub-Signature-256", "GitHub: `sha256=` and the HMAC in hexadecimal."),
    ("giteaSignature", "X-Gitea-Signature", "Gitea: the HMAC in hexadecimal."),
    ("forgejoSignature", "X-Forgejo-Signature", "Forgejo: the HMAC in hexadecimal."),
    ("gogsSignature", "X-Gogs-Signature", "Gogs: the HMAC in hexadecimal."),
    (
        "gitlabToken",
        "X-Gitlab-Token",
        "GitLab: the secret itself, unless it begins with `whsec_` (then `webhook-signature`).",
    ),
    (
        "bitbucketSignature",
        "X-Hub-Signature",
        "Bitbucket, Cloud and Data Center: `sha256=` and the HMAC in hexadecimal.",
    ),
    ("webhookSignature", "webhook-signature", "Standard Webhooks: `v1,` and base64, over id, time and body."),
];

/// The document.
pub(super) fn write() -> Value {
    let mut schemas = Schemas::new();
    let codes = about_codes();
    let failures = operations().flat_map(failures).map(|(_, of_status)| of_status);
    let responses: BTreeMap<_, _> =
        failures.map(|of_status| (of_status.join("-or-"), failure(&of_status, &codes))).collect();
    let paths = paths(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Troupe",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Builds on a cluster of identical peers.",
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/", "description": "The node that was asked." }],
        "tags": TAGS.map(|(name, about)| json!({ "name": name, "description": about })),
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "responses": responses,
            "securitySchemes": security_schemes(),
            "headers": {
                "X-Troupe-Index": {
                    "description": "The log entry up to which this node has applied.",
                    "required": true,
                    "schema": { "type": "integer", "format": "uint64", "minimum": 0 },
                },
                "Retry-After": {
                    "description": "Seconds until another try may go well.",
                    "required": true,
                    "schema": { "type": "integer", "minimum": 0 },
                },
                "WWW-Authenticate": {
                    "description": "Always `Bearer`.",
                    "required": true,
                    "schema": { "const": "Bearer" },
                },
            },
        },
    })
}

fn operations() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().flat_map(|family| family.iter())
}

fn paths(schemas: &mut Schemas) -> BTreeMap<&'static str, Map<String, Value>> {
    // Every error refers to it.
    schemas.answer(of::<Problem>());
    let mut paths = BTreeMap::new();
    for operation in operations() {
        let item = paths.entry(operation.path).or_insert_with(|| path_item(operation.path));
        let method = operation.method.as_str().to_ascii_lowercase();
        item.insert(method, write_operation(operation, schemas));
    }
    paths
}

/// The codes by their names, with what they mean: from the docs of their type.
fn about_codes() -> BTreeMap<String, (Code, String)> {
    let schema = schemars::schema_for!(Code).to_value();
    let all = schema["oneOf"].as_array().into_iter().flatten();
    all.filter_map(|one| {
        let code = serde_json::from_value(one["const"].clone()).ok()?;
        Some((one["const"].as_str()?.to_owned(), (code, one["description"].as_str()?.to_owned())))
    })
    .collect()
}

fn path_item(path: &str) -> Map<String, Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let declared = names.filter_map(|name| parameters::OF_PATHS.iter().find(|one| one.name == name));
    let parameters: Vec<_> = declared.map(|one| parameter(one, "path")).collect();
    let mut item = Map::new();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    item
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    let mut written = json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.about,
        "required": place == "path",
        "schema": values(parameter.values),
    });
    if let Values::Text { example, .. } = parameter.values {
        written["example"] = example.into();
    }
    written
}

fn values(values: Values) -> Value {
    match values {
        Values::Integer { min, max, default } => {
            let mut schema = json!({ "type": "integer", "minimum": min });
            if max == u64::MAX {
                schema["format"] = "uint64".into();
            } else {
                schema["maximum"] = max.into();
            }
            if let Some(default) = default {
                schema["default"] = default.into();
            }
            schema
        }
        Values::Flag => json!({ "type": "boolean", "default": false }),
        Values::Name(names) => json!({ "type": "string", "enum": names }),
        Values::Text { pattern, .. } => json!({ "type": "string", "pattern": pattern }),
    }
}

fn write_operation(operation: &Operation, schemas: &mut Schemas) -> Value {
    let query = operation.query.iter().map(|one| parameter(one, "query"));
    let parameters: Vec<_> =
        query.chain(operation.headers.iter().map(|one| parameter(one, "header"))).collect();
    let mut responses = Map::new();
    for success in operation.answers {
        responses.insert(success.status.to_string(), answer(success, schemas));
    }
    for (status, of_status) in failures(operation) {
        let place = format!("#/components/responses/{}", of_status.join("-or-"));
        responses.insert(status.to_string(), json!({ "$ref": place }));
    }
    let mut written = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": security(operation.access),
        "responses": responses,
    });
    if !operation.details.is_empty() {
        written["description"] = operation.details.into();
    }
    if !parameters.is_empty() {
        written["parameters"] = parameters.into();
    }
    if !operation.body.is_empty() {
        let content = content(operation.body, |of| schemas.request(of));
        written["requestBody"] = json!({ "required": true, "content": content });
    }
    written
}

fn content(media: &[Media], mut schema: impl FnMut(super::operation::SchemaOf) -> Value) -> Value {
    let all = media.iter().map(|one| match one {
        Media::Json(of) => ("application/json".to_owned(), json!({ "schema": schema(*of) })),
        Media::Form => {
            let payload = json!({ "type": "string", "contentMediaType": "application/json" });
            let form =
                json!({ "type": "object", "required": ["payload"], "properties": { "payload": payload } });
            ("application/x-www-form-urlencoded".to_owned(), json!({ "schema": form }))
        }
        Media::Text(kind) => ((*kind).to_owned(), json!({ "schema": { "type": "string" } })),
        // OpenAPI 3.1: a body of bytes has no schema.
        Media::Bytes => ("application/octet-stream".to_owned(), json!({})),
    });
    all.collect::<Map<_, _>>().into()
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn answer(success: &Success, schemas: &mut Schemas) -> Value {
    let mut headers = json!({ "X-Troupe-Index": header("X-Troupe-Index") });
    for one in success.headers {
        headers[one.name] =
            json!({ "description": one.about, "required": true, "schema": values(one.values) });
    }
    json!({
        "description": success.about,
        "headers": headers,
        "content": content(success.media, |of| schemas.answer(of)),
    })
}

/// An operation's errors by status, each as it is sent.
fn failures(operation: &Operation) -> BTreeMap<u16, Vec<String>> {
    let mut failures: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in operation.errors() {
        failures.entry(code.status().as_u16()).or_default().push(code.name());
    }
    failures
}

/// The errors of one status.
fn failure(of_status: &[String], codes: &BTreeMap<String, (Code, String)>) -> Value {
    let mut headers = json!({ "X-Troupe-Index": header("X-Troupe-Index") });
    let known = || of_status.iter().filter_map(|name| Some((name, codes.get(name)?)));
    if known().all(|(_, (code, _))| code.retry_after().is_some()) {
        headers["Retry-After"] = header("Retry-After");
    }
    if known().any(|(_, (code, _))| *code == Code::Unauthorized) {
        headers["WWW-Authenticate"] = header("WWW-Authenticate");
    }
    let lines: Vec<_> = known().map(|(name, (_, about))| format!("`{name}`: {about}")).collect();
    let only = json!({ "properties": { "code": { "enum": of_status } } });
    let schema = json!({ "allOf": [{ "$ref": format!("{PLACE}Problem") }, only] });
    json!({
        "description": lines.join("\n\n"),
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema } },
    })
}

fn security(access: Access) -> Value {
    match access {
        // The names of rights are allowed here for any scheme since OpenAPI 3.1.
        Access::Token(right, _) => json!([{ "token": [TokenRight::from(right)] }]),
        Access::Open(Open::Hook) => SIGNATURES.iter().map(|(name, ..)| json!({ *name: [] })).collect(),
        Access::Open(Open::Health | Open::Ready | Open::Description) => json!([]),
    }
}

fn security_schemes() -> Value {
    let mut all = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `createToken`. Its right is `read`, `submit` or `admin`; each may do what those \
                            before it may.",
        },
    });
    for (scheme, name, about) in SIGNATURES {
        all[scheme] = json!({ "type": "apiKey", "in": "header", "name": name, "description": about });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_the_same_in_requests_and_answers() {
        let mut schemas = Schemas::new();
        paths(&mut schemas);
        assert_eq!(schemas.differing(), Vec::<&str>::new());
    }

    #[test]
    fn nothing_is_in_the_table_twice() {
        let mut seen = Vec::new();
        for operation in operations() {
            let place = (&operation.method, operation.path);
            assert!(
                !seen.iter().any(|(other, access)| *other == place || *access == operation.access),
                "{place:?}"
            );
            seen.push((place, operation.access));
            let mut errors = operation.errors();
            let count = errors.len();
            errors.sort_by_key(|code| code.name());
            errors.dedup();
            assert_eq!(errors.len(), count, "{place:?}: {errors:?}");
        }
    }

    #[test]
    fn every_code_of_an_error_says_what_it_means() {
        let about = about_codes();
        for code in operations().flat_map(Operation::errors) {
            assert_eq!(about.get(&code.name()).map(|(code, _)| *code), Some(code));
        }
    }
}
