//! Nodes in this process, on addresses of their own, for tests of the API.

#![allow(dead_code, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use hmac::{Hmac, KeyInit, Mac};
use node::config::Config;
use node::server::Server;
use raft_store::Store;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The webhook secret of test repositories.
pub const SECRET: &str = "a secret of a test";

/// GitHub's signature header.
pub fn sign(secret: &str, body: &str) -> String {
    sign_bytes(secret, body.as_bytes())
}

/// The same, over bytes that are no text.
pub fn sign_bytes(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A node and a client with its admin token.
pub struct Alone {
    pub http: reqwest::Client,
    server: Server,
    token: String,
    dir: tempfile::TempDir,
}

impl Alone {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node that waits for two others, which never come.
    pub async fn without_quorum() -> Self {
        Self::launch(|config| config.cluster.bootstrap_expect = 3).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut node = Self::launch(change).await;
        let mut applied = node.server.store.applied();
        let store = node.server.store.clone();
        applied.wait_for(|_| store.state().cluster.is_some()).await.unwrap();
        node.token = node.admin_token().unwrap();
        node
    }

    /// The admin token, on the node that began the cluster.
    fn admin_token(&self) -> Option<String> {
        let path = self.dir.path().join("data").join(raft_store::TOKEN_FILE);
        Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
    }

    async fn launch(change: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        links::ca::init(dir.path()).unwrap();
        let name = "alone".parse().unwrap();
        let files = links::ca::issue(dir.path(), dir.path(), &name, 1).unwrap();
        let mut config = Config::default();
        config.node.name = "alone".to_owned();
        config.node.data_dir = dir.path().join("data");
        config.secrets.key_file = dir.path().join("secrets.key");
        std::fs::write(&config.secrets.key_file, "0123456789abcdef".repeat(4)).unwrap();
        config.http.listen = "127.0.0.1:0".to_owned();
        config.http.max_body_bytes = 4096;
        config.http.max_hook_bytes = 4096;
        // Plain processes, and none unless a test wants them.
        config.runner.executor = node::config::Executor::Fake;
        config.runner.grace_ms = 300;
        config.node.slots = 0;
        config.http.header_timeout_ms = 300;
        config.http.body_timeout_ms = 300;
        config.cluster.listen = "127.0.0.1:0".to_owned();
        (config.cluster.ca, config.cluster.cert, config.cluster.key) = (files.ca, files.cert, files.key);
        change(&mut config);
        let server = Server::start(&config).await.unwrap();
        // A connection that is kept may be closed by the server just when the next request is on its way.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { http, server, token: String::new(), dir }
    }

    /// What opens the cluster's links from outside: the options of a bench, with a certificate of its own.
    pub fn links(&self) -> Vec<String> {
        let out = self.dir.path();
        let files = links::ca::issue(out, out, &"bench".parse().unwrap(), 1).unwrap();
        let leader = self.server.store.leadership().borrow().leader.clone().unwrap();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        [
            ("--nodes", leader.1.cluster_addr),
            ("--ca", text(files.ca)),
            ("--cert", text(files.cert)),
            ("--key", text(files.key)),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }

    pub fn store(&self) -> &Store {
        &self.server.store
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.http_addr)
    }

    pub fn authorized(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.authorized(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.authorized(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.authorized(Method::PUT, path).json(&body).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        read(self.authorized(Method::DELETE, path).send().await.unwrap()).await
    }

    /// Where the node keeps everything.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    pub async fn add_repo(&self, name: &str) {
        let url = format!("https://example.com/{name}.git");
        let body = serde_json::json!({ "clone_url": url, "webhook_secret": SECRET });
        assert_eq!(self.put(&format!("/v1/repos/{name}"), body).await.0, StatusCode::CREATED);
    }

    /// Posts a webhook as GitHub does.
    pub async fn hook(
        &self,
        repo: &str,
        body: &str,
        id: &str,
        event: &str,
        signature: Option<&str>,
    ) -> Response {
        let mut request = self
            .http
            .post(self.url(&format!("/v1/hooks/{repo}")))
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        request.send().await.unwrap()
    }

    /// A connection that says nothing.
    pub async fn connect(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.server.http_addr).await.unwrap()
    }

    /// Sends bytes, then only reads, until the server closes.
    pub async fn raw(&self, bytes: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.server.http_addr).await.unwrap();
        // A connection that is refused may be reset while it is written to or read: that is closed, too.
        let mut answer = Vec::new();
        if stream.write_all(bytes.as_bytes()).await.is_ok() {
            drop(stream.read_to_end(&mut answer).await);
        }
        String::from_utf8(answer).unwrap()
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}
