//! One request, read with caps: path segments, query, headers, and a body that is never buffered past its limit.
//!
//! Must not know any route.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::{HeaderMap, Method, header};

use super::openapi::Captured;
use super::problem::{Code, Problem};

/// The bytes of a body as they come.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// Boxes what warp extracts.
pub fn boxed<B: Buf + 'static>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + Sync + 'static,
) -> Body {
    Box::pin(body.map(|part| part.map(|mut part| part.copy_to_bytes(part.remaining()))))
}

/// A request whose body is not read yet.
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The parts of its path, percent-decoded.
    pub segments: Vec<String>,
    /// What the names in the operation's path stand for, once it is found.
    pub(super) captured: Captured,
    /// The pairs of its query, in order, decoded.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    body: Body,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// `Invalid` for a path that is not UTF-8 once decoded.
    pub fn new(
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Self, Problem> {
        let segments = path
            .trim_matches('/')
            .split('/')
            .map(|part| decode(part).ok_or_else(|| Problem::invalid("path", "not UTF-8 once decoded")))
            .collect::<Result<_, _>>()?;
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { method, segments, captured: Captured::default(), query, headers, body })
    }

    /// The whole body.
    ///
    /// # Errors
    /// 415 for a compressed one, 413 past `limit` bytes, 408 past `timeout`, 400 when it breaks off.
    pub async fn bytes(&mut self, limit: u64, timeout: Duration) -> Result<Vec<u8>, Problem> {
        self.bytes_as_they_come(limit, timeout, |_| Ok(())).await
    }

    /// The whole body, and its room among those that are in memory at one time: a byte for each that came.
    ///
    /// # Errors
    /// As [`Request::bytes`], and 503 when there is no room.
    pub async fn bytes_within(
        &mut self,
        limit: u64,
        timeout: Duration,
        room: &Arc<Semaphore>,
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
        let full = || Problem::new(Code::Unavailable, "too many large bodies are read at this moment");
        let mut held: Option<OwnedSemaphorePermit> = None;
        let take = |bytes: usize| {
            let more =
                u32::try_from(bytes).ok().and_then(|n| Arc::clone(room).try_acquire_many_owned(n).ok());
            let more = more.ok_or_else(full)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            Ok(())
        };
        let whole = self.bytes_as_they_come(limit, timeout, take).await?;
        Ok((whole, held))
    }

    async fn bytes_as_they_come(
        &mut self,
        limit: u64,
        timeout: Duration,
        mut take: impl FnMut(usize) -> Result<(), Problem>,
    ) -> Result<Vec<u8>, Problem> {
        if self.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
            return Err(Problem::new(Code::UnsupportedEncoding, "compressed bodies are not accepted"));
        }
        let too_large = || Problem::new(Code::TooLarge, format!("the body is over {limit} bytes"));
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let read = async {
            let mut whole = Vec::new();
            while let Some(part) = self.body.next().await {
                let part = part.map_err(|_| Problem::new(Code::Invalid, "the body broke off"))?;
                if (whole.len() + part.len()) as u64 > limit {
                    return Err(too_large());
                }
                take(part.len())?;
                whole.extend_from_slice(&part);
            }
            Ok(whole)
        };
        let late = || Problem::new(Code::RequestTimeout, "the body did not come in time");
        tokio::time::timeout(timeout, read).await.map_err(|_| late())?
    }

    /// The `Idempotency-Key`, for this token alone; empty for none.
    ///
    /// # Errors
    /// `Invalid` for one that is empty, too long, or no text.
    pub fn idempotency_key(&self, token: domain::TokenId) -> Result<String, Problem> {
        match self.headers.get("idempotency-key").map(|value| value.to_str()) {
            None => Ok(String::new()),
            Some(Ok(text)) if (1..=200).contains(&text.len()) => Ok(format!("{token}:{text}")),
            Some(_) => Err(Problem::invalid("Idempotency-Key", "1 to 200 visible characters are expected")),
        }
    }

    /// A header's text, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// An id or a name from the path.
    ///
    /// # Errors
    /// `Invalid`, naming it as the API's description does.
    pub fn id<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, Problem> {
        self.captured.get(name).parse().map_err(|error| Problem::invalid(name, error))
    }

    /// The query, when it has no other parameters than `known`, none twice.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter.
    pub fn check_query(&self, known: &[&str]) -> Result<(), Problem> {
        for (at, (name, _)) in self.query.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::invalid(name, format!("unknown parameter (allowed: {allowed})")));
            }
            if self.query[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::invalid(name, "given twice"));
            }
        }
        Ok(())
    }

    /// A parameter of the query.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter.
    pub fn param<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let Some((_, text)) = self.query.iter().find(|(key, _)| key == name) else { return Ok(None) };
        let shown: String = text.chars().take(100).collect();
        text.parse().map(Some).map_err(|error| Problem::invalid(name, format!("{shown:?}: {error}")))
    }
}

/// JSON of a body.
///
/// # Errors
/// `Invalid` with the place and what was expected.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid("body", error))
}

fn decode(part: &str) -> Option<String> {
    let plus_kept = part.replace('+', "%2B");
    let pair = format!("x={plus_kept}").replace('&', "%26");
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    (!value.contains('\u{fffd}')).then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(parts: &[&'static [u8]]) -> Request {
        let parts: Vec<Result<Bytes, warp::Error>> =
            parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
        let (body, headers) = (boxed(futures::stream::iter(parts)), HeaderMap::new());
        Request {
            method: Method::POST,
            segments: Vec::new(),
            captured: Captured::default(),
            query: Vec::new(),
            headers,
            body,
        }
    }

    #[tokio::test]
    async fn bodies_that_have_no_room_together_are_refused_until_there_is_room_again() {
        let (room, patience) = (Arc::new(Semaphore::new(10)), Duration::from_secs(60));
        let read = async |parts: &[&'static [u8]]| {
            sent(parts).bytes_within(8, patience, &room).await.map_err(|refused| refused.code)
        };
        let first = read(&[b"abc", b"de"]).await;
        assert_eq!(first.as_ref().map(|(body, _)| &body[..]), Ok(&b"abcde"[..]));
        assert_eq!(read(&[b"abc", b"def"]).await.map(drop), Err(Code::Unavailable));
        assert_eq!(room.available_permits(), 5, "what was refused holds nothing");
        assert_eq!(read(&[b"abcde"]).await.map(drop), Ok(()));
        assert_eq!(read(&[b"abc", b"defgh"]).await.map(drop), Err(Code::Unavailable));
        drop(first);
        assert_eq!(read(&[b"abc", b"defghi"]).await.map(drop), Err(Code::TooLarge));
        assert_eq!(read(&[b"abcd", b"efgh"]).await.map(drop), Ok(()));
        assert_eq!(room.available_permits(), 10);
    }
}
