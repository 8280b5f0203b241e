//! Asks one node, as anybody may, and tells what is certain about the answer. A failed request is unknown, not undone, unless
//! the node says that nothing was changed, or was never reached.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::history::Answer;
use crate::node::Node;

/// The longest that a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Someone who asks one node.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    metrics: String,
    token: String,
}

impl Client {
    /// Of this node, whether it runs or not.
    ///
    /// # Panics
    /// Never: its settings are constants.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
        Self { http, url: node.url(), metrics: node.metrics(), token: node.token.clone() }
    }

    /// A request to the API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// A request to the API that is signed, and not by a token.
    pub fn webhook(&self, webhook: &crate::push::Webhook) -> RequestBuilder {
        webhook.request(&self.http, &self.url)
    }

    /// What a path shows, with its status; none when there is no answer.
    pub async fn get(&self, path: &str) -> Option<(StatusCode, Value)> {
        let answer = self.request(Method::GET, path).send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    /// What a path shows; none when it is not answered with 200.
    pub async fn found(&self, path: &str) -> Option<Value> {
        self.get(path).await.filter(|(status, _)| *status == StatusCode::OK).map(|(_, value)| value)
    }

    /// All items of a list, page by page; none when a page is not answered with 200. `filter` is `&name=value`, or nothing.
    pub async fn all(&self, path: &str, filter: &str) -> Option<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.found(&format!("{path}?limit=500{filter}{cursor}")).await?;
            items.extend(page["items"].as_array()?.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Some(items),
            }
        }
    }

    /// The bytes of a path; none when it is not answered with 200, or broken off.
    pub async fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let answer = self.request(Method::GET, path).send().await.ok()?;
        let is_ok = answer.status() == StatusCode::OK;
        answer.bytes().await.ok().filter(|_| is_ok).map(Vec::from)
    }

    /// The node's metrics, as text.
    pub async fn metrics(&self) -> Option<String> {
        self.http.get(format!("http://{}/metrics", self.metrics)).send().await.ok()?.text().await.ok()
    }
}

/// Sends a request for a change.
pub async fn change(request: RequestBuilder) -> Answer {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Answer::Refused("not reached".to_owned()),
        Err(error) => return Answer::Perhaps(format!("{error:?}")),
    };
    let status = answer.status();
    match answer.json::<Value>().await {
        Ok(body) => judge(status, &body),
        // The status alone says that it is done, but not as what.
        Err(error) => Answer::Perhaps(format!("{status}, {error:?}")),
    }
}

/// What an answer says. Pure.
fn judge(status: StatusCode, body: &Value) -> Answer {
    let id = ["id", "delivery", "cancelling"].into_iter().find_map(|name| body[name].as_str());
    let code = body["code"].as_str().unwrap_or_default();
    match (status.as_u16(), id) {
        (200..300, Some(id)) => Answer::Done(id.to_owned()),
        (200..300, None) => Answer::Done(String::new()),
        (_, _) if matches!(code, "outcome_unknown" | "internal" | "") => {
            Answer::Perhaps(format!("{status}, {body}"))
        }
        _ => Answer::Refused(code.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_certain_is_certain() {
        let of = |status: u16, body| judge(StatusCode::from_u16(status).expect("a status"), &body);
        assert_eq!(of(201, json!({ "id": "R" })), Answer::Done("R".to_owned()));
        assert_eq!(of(202, json!({ "delivery": "D", "duplicate": true })), Answer::Done("D".to_owned()));
        assert_eq!(of(503, json!({ "code": "unavailable" })), Answer::Refused("unavailable".to_owned()));
        assert_eq!(of(507, json!({ "code": "no_space" })), Answer::Refused("no_space".to_owned()));
        for (status, body) in [
            (503, json!({ "code": "outcome_unknown" })),
            (500, json!({ "code": "internal" })),
            (502, json!({})),
        ] {
            assert!(matches!(of(status, body), Answer::Perhaps(_)), "{status}");
        }
    }
}
