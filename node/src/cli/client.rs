//! The HTTP client of the CLI.
//!
//! Must not know commands or how results are shown.

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde_json::Value;

use super::Failure;
use crate::api::Problem;

/// A client of one node's API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    addr: String,
    token: String,
}

impl Client {
    /// A client for `addr`, as in `http://127.0.0.1:7070`.
    #[must_use]
    pub fn new(addr: &str, token: &str) -> Self {
        // An error means that a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            http: reqwest::Client::new(),
            addr: addr.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.addr)).bearer_auth(&self.token)
    }

    /// Sends a request; an error of the API becomes a [`Failure::Problem`].
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| Failure::Unreachable {
            addr: self.addr.clone(),
            why: error.without_url().to_string(),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        match response.json::<Problem>().await {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.bad(format!("status {status} without a problem"))),
        }
    }

    /// GET of JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.read(self.send(self.request(Method::GET, path)).await?).await
    }

    /// A request with a JSON body, answered with JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.read(self.send(self.request(method, path).json(body)).await?).await
    }

    async fn read(&self, response: Response) -> Result<Value, Failure> {
        response.json().await.map_err(|error| self.bad(error.without_url().to_string()))
    }

    /// An answer that makes no sense.
    #[must_use]
    pub fn bad(&self, why: String) -> Failure {
        Failure::BadAnswer { addr: self.addr.clone(), why }
    }
}
