//! A push or a pull request to the demo repository, as a forge tells of it.

use fixtures::GitServer;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::cluster::Cluster;
use crate::node::Node;
use crate::until;

pub(crate) const SECRET: &str = "the secret of a demo";

/// A webhook, ready to be posted to any node, as often as one likes.
#[derive(Debug, Clone)]
pub struct Webhook {
    event: &'static str,
    delivery: String,
    body: String,
}

impl Webhook {
    /// The push of `commit` to `main`, under a delivery id of the forge.
    #[must_use]
    pub fn push(commit: &str, delivery: &str) -> Self {
        Self::titled(commit, "main", "a push", delivery)
    }

    /// The push of `commit` to a branch, with the first line of its message.
    #[must_use]
    pub fn titled(commit: &str, branch: &str, title: &str, delivery: &str) -> Self {
        let body = json!({
            "ref": format!("refs/heads/{branch}"),
            "before": "0000000000000000000000000000000000000000",
            "after": commit,
            "repository": { "full_name": "demo" },
            "sender": { "login": "ann" },
            "head_commit": { "id": commit, "message": title },
        });
        Self { event: "push", delivery: delivery.to_owned(), body: body.to_string() }
    }

    /// Somebody asks for `commit`, on `branch` of a fork, to be taken into `main`, whose commit is `base`.
    #[must_use]
    pub fn pull_request(number: u32, (commit, branch): (&str, &str), base: &str, delivery: &str) -> Self {
        let repository = |name: &str| json!({ "full_name": name, "default_branch": "main" });
        let body = json!({
            "action": "opened", "number": number, "repository": repository("demo"), "sender": { "login": "eve" },
            "pull_request": { "number": number, "title": "Please", "user": { "login": "eve" }, "merged": false,
                "head": { "ref": branch, "sha": commit, "repo": repository("eve/demo") },
                "base": { "ref": "main", "sha": base, "repo": repository("demo") } },
        });
        Self { event: "pull_request", delivery: delivery.to_owned(), body: body.to_string() }
    }

    /// Posts it to a node as GitHub does.
    ///
    /// # Errors
    /// The node cannot be reached, or closes the connection.
    pub async fn post(&self, node: &Node) -> reqwest::Result<Response> {
        self.request(&reqwest::Client::new(), &node.url()).send().await
    }

    /// The request, to the node that answers at `url`.
    ///
    /// # Panics
    /// Never: a key may have any length.
    pub fn request(&self, http: &reqwest::Client, url: &str) -> RequestBuilder {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(self.body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        // No token: the signature is what counts.
        http.post(format!("{url}/v1/hooks/demo"))
            .header("content-type", "application/json")
            .header("x-github-event", self.event)
            .header("x-github-delivery", &self.delivery)
            .header("x-hub-signature-256", format!("sha256={signature}"))
            .body(self.body.clone())
    }

    /// Posts it, and is accepted; the delivery's id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn accepted(&self, node: &Node) -> String {
        let answer = self.post(node).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let answer: Value = answer.json().await.unwrap();
        answer["delivery"].as_str().expect("a delivery").to_owned()
    }
}

/// Registers the server's repository, and waits until every node knows it.
///
/// # Panics
/// When the node refuses it.
pub async fn register(cluster: &Cluster, server: &GitServer) {
    let body = json!({ "clone_url": server.url(), "webhook_secret": SECRET });
    let request = cluster.nodes[0].request(Method::PUT, "/v1/repos/demo").json(&body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    for node in &cluster.nodes {
        node.get("/v1/repos/demo").await;
    }
}

/// The run that a delivery became.
pub async fn run_of(node: &Node, delivery: &str) -> String {
    until(format!("delivery {delivery} is a run"), async || {
        let seen = node.try_get(&format!("/v1/deliveries/{delivery}")).await?;
        Some(seen["runs"].get(0)?.as_str()?.to_owned())
    })
    .await
}
