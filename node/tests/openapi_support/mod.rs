//! The description of a node, held against what the node does.

#![allow(dead_code, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use jsonschema::Validator;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

use crate::support::Alone;

/// The words that are methods among the keys of a path.
pub const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

/// `/v1/openapi.json` as a node answers it.
pub struct Description(pub Value);

/// An operation of a description.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: String,
    pub path: String,
    pub about: Value,
    /// Its own parameters and its path's.
    pub parameters: Vec<Value>,
}

impl Operation {
    pub fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    pub fn method(&self) -> Method {
        self.method.to_uppercase().parse().unwrap()
    }

    /// Its path with an example of each name.
    pub fn example(&self) -> String {
        self.parameters.iter().filter(|one| one["in"] == "path").fold(self.path.clone(), |path, one| {
            let example = one["example"].as_str().unwrap_or("1").replace('/', "%2F");
            path.replace(&format!("{{{}}}", one["name"].as_str().unwrap()), &example)
        })
    }

    /// The right that its token needs; none when it takes no token.
    pub fn right(&self) -> Option<&str> {
        self.about["security"][0]["token"][0].as_str()
    }

    /// True when a path could be of this one: as many parts where no name is, and those equal.
    fn matches(&self, path: &str) -> bool {
        let (own, given): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        own.len() == given.len()
            && own.iter().zip(given).all(|(own, given)| own.starts_with('{') || *own == given)
    }
}

impl Description {
    /// Fetched without a token.
    pub async fn of(node: &Alone) -> Self {
        let answer = node.http.get(node.url("/v1/openapi.json")).send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()["content-type"]),
            (reqwest::StatusCode::OK, &reqwest::header::HeaderValue::from_static("application/json"))
        );
        Self(answer.json().await.unwrap())
    }

    pub fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for (method, about) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
                assert!(METHODS.contains(&method.as_str()), "{path}: {method}");
                let of = |value: &Value| value["parameters"].as_array().cloned().unwrap_or_default();
                all.push(Operation {
                    method: method.clone(),
                    path: path.clone(),
                    about: about.clone(),
                    parameters: [of(item), of(about)].concat(),
                });
            }
        }
        all
    }

    pub fn operation(&self, method: &str, path: &str) -> Operation {
        let all = self.operations();
        let path = path.split('?').next().unwrap();
        let mut found: Vec<_> =
            all.iter().filter(|one| one.method.eq_ignore_ascii_case(method) && one.matches(path)).collect();
        // A fixed part goes before a name.
        found.sort_by_key(|one| one.path.matches('{').count());
        (*found.first().unwrap_or_else(|| panic!("{method} {path} is not described"))).clone()
    }

    /// The value that a reference leads to.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(target) => {
                self.0.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("{target}"))
            }
            None => value,
        }
    }

    /// A validator of one of the document's schemas, which takes no field that is not described.
    pub fn validator(&self, schema: &Value) -> Validator {
        let mut schemas: Map<String, Value> = self.0["components"]["schemas"].as_object().unwrap().clone();
        for schema in schemas.values_mut().filter(|schema| schema["properties"].is_object()) {
            schema["additionalProperties"] = json!(false);
        }
        let mut root = schema.clone();
        root["components"] = json!({ "schemas": schemas });
        jsonschema::draft202012::new(&root).unwrap()
    }

    /// Panics unless a value is of a schema of the document.
    pub fn check(&self, what: &str, schema: &Value, value: &Value) {
        let validator = self.validator(schema);
        let wrong: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
    }

    /// Panics unless the body that is sent is of the described schema.
    fn check_request(&self, operation: &Operation, body: &Value) {
        let schema = &operation.about["requestBody"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{} takes no body", operation.name());
        self.check(&format!("the request {}", operation.name()), schema, body);
    }

    /// Sends a request whose body, if there is one, is as described; its answer must be, too.
    pub async fn call(&self, node: &Alone, method: &str, path: &str, body: Option<Value>) -> Answer {
        let operation = self.operation(method, path);
        let request = node.authorized(operation.method(), path);
        match &body {
            Some(body) => {
                self.check_request(&operation, body);
                self.send(&operation, request.json(body)).await
            }
            None => self.send(&operation, request).await,
        }
    }

    /// Sends any request; the answer must be as described.
    pub async fn send(&self, operation: &Operation, request: RequestBuilder) -> Answer {
        self.expect(operation, request.send().await.unwrap()).await
    }

    /// Panics unless the answer is as described.
    pub async fn expect(&self, operation: &Operation, response: Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let bytes = response.bytes().await.unwrap();
        let what = format!("the answer {status} of {}", operation.name());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let about = self.resolve(&operation.about["responses"][status.to_string()]);
        assert!(!about.is_null(), "{what} is not described: {text}");
        for (name, header) in about["headers"].as_object().unwrap() {
            let value = headers.get(name).unwrap_or_else(|| panic!("{what} has no {name}")).to_str().unwrap();
            let schema = &self.resolve(header)["schema"];
            // A header of a number is text all the same.
            let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
            self.check(&format!("{name} of {what}"), schema, &value);
        }
        let media = &about["content"][&kind];
        assert!(!media.is_null(), "{what} is {kind}, which is not described");
        let body = if kind.ends_with("json") { serde_json::from_str(&text).unwrap() } else { Value::Null };
        if kind.ends_with("json") {
            self.check(&what, &media["schema"], &body);
        }
        Answer { status, kind, body, text }
    }
}

/// An answer that is as described.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    /// Its JSON, if it is.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Its status, and its code if it is an error.
    pub fn is(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}
