//! Sends one request to a forge: within a time, to the addresses that may be called, following nothing, and reading only the
//! beginning of the answer.
//!
//! Must not know what is told.

use std::sync::Arc;
use std::time::Duration;

use forge::Forge;
use forge::status::{Next, Request, next};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::addresses::{Trust, resolve};
use crate::clock;

/// Bytes of an answer that are read: for the words that say what is wrong.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Sends requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Post {
    client: Client,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// What is to be done.
    pub(super) next: Next,
    /// In words why, if it is to be sent again.
    pub(super) why: String,
    /// The forge answered.
    pub(super) came: bool,
}

/// Looks names up as every other server's that this node calls.
#[derive(Debug)]
struct Checked;

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // reqwest puts the port in.
            let found = resolve(name.as_str(), 0, Trust::Registered).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Post {
    /// Requests that may take this long in all.
    ///
    /// # Errors
    /// The certificates of this machine cannot be read.
    pub(super) fn new(patience: Duration) -> Result<Self, reqwest::Error> {
        // An error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .timeout(patience)
            .connect_timeout(patience / 2)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Checked))
            .build()?;
        Ok(Self { client })
    }

    /// Sends it.
    pub(super) async fn send(&self, forge: Forge, request: Request) -> Answer {
        let unsent = |why: String| Answer { next: Next::Again { after_seconds: 0 }, why, came: false };
        // An address needs no look-up, so it is checked here.
        let literal = Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        if let Some(host) =
            literal.filter(|host| host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok())
            && let Err(refused) = resolve(&host, 0, Trust::Registered).await
        {
            return Answer {
                next: Next::Never { why: refused.to_string() },
                why: String::new(),
                came: false,
            };
        }
        let mut sending = self.client.post(&request.url).body(request.body);
        for (name, value) in request.headers {
            sending = sending.header(name, value);
        }
        match sending.send().await {
            Ok(answer) => {
                let code = answer.status().as_u16();
                let headers = Headers(answer.headers().clone());
                let body = beginning(answer).await;
                let now = clock::now().0 / 1000;
                let next = next(forge, code, &headers, &body, now);
                Answer { next, why: format!("it answered {code}"), came: true }
            }
            Err(error) => unsent(innermost(&error)),
        }
    }
}

struct Headers(reqwest::header::HeaderMap);

impl forge::Headers for Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What came before an error is as good.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_ANSWER_BYTES {
            break;
        }
    }
    body
}

/// The cause, without the URL: the words around it say only that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let timed_out = if error.is_timeout() { "it did not answer in time: " } else { "" };
    format!("{timed_out}{cause}")
}
