//! The HTTP client of the CLI: one API, at any of several addresses.
//!
//! Must not know commands or how results are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use crate::api::Problem;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may come. The server says something on a silent stream every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// A client of the API. Asks one address until that one cannot be reached, then the next.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    addrs: Arc<[String]>,
    /// Which address is asked.
    at: Arc<AtomicUsize>,
    token: Arc<str>,
}

impl Client {
    /// A client for addresses as in `http://127.0.0.1:7070`; at least one.
    ///
    /// # Errors
    /// [`Failure::Http`] when the library does not start.
    pub fn new(addrs: &[String], token: &str) -> Result<Self, Failure> {
        // An error means that a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        let addrs = addrs.iter().map(|addr| addr.trim_end_matches('/').to_owned()).collect();
        Ok(Self { http, addrs, at: Arc::default(), token: token.into() })
    }

    /// The same client for one of the addresses alone: the `index`th, counted round and round.
    #[must_use]
    pub fn only(&self, index: usize) -> Self {
        let addr = self.addrs[index % self.addrs.len()].clone();
        Self { addrs: Arc::new([addr]), at: Arc::default(), ..self.clone() }
    }

    /// The address that is asked next.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addrs[self.at.load(Ordering::Relaxed) % self.addrs.len()]
    }

    /// From now on, asks the address after this one.
    pub fn elsewhere(&self) {
        self.at.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a request, which `with` may add to; an error of the API becomes a [`Failure::Problem`]. What could not
    /// even be sent is sent to the next address.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut left = self.addrs.len();
        loop {
            let addr = self.addr().to_owned();
            let request = self.http.request(method.clone(), format!("{addr}{path}")).bearer_auth(&self.token);
            let error = match with(request).send().await {
                Ok(response) => return self.accepted(response).await,
                Err(error) => error,
            };
            left -= 1;
            if left == 0 || !error.is_connect() {
                return Err(Failure::Unreachable { addr, why: innermost(&error) });
            }
            self.elsewhere();
        }
    }

    async fn accepted(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match response.json::<Problem>().await {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.bad(format!("status {status} without a problem"))),
        }
    }

    /// GET of JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, |request| request).await?).await
    }

    /// A request with a JSON body, answered with JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.read(self.send(method, path, |request| request.json(body)).await?).await
    }

    /// An answer's JSON.
    ///
    /// # Errors
    /// [`Failure::BadAnswer`], or [`Failure::Broken`] when it ends early.
    pub async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.bad(error.to_string()))
    }

    /// An answer that makes no sense.
    #[must_use]
    pub fn bad(&self, why: String) -> Failure {
        Failure::BadAnswer { addr: self.addr().to_owned(), why }
    }

    /// An answer that broke off.
    #[must_use]
    pub fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::Broken { addr: self.addr().to_owned(), why: innermost(error) }
    }
}

/// The words of the error behind an error, which say most: the library's own do not tell "refused" from "timed out".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A path's part, with everything escaped that could end it or mean something else.
#[must_use]
pub fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
