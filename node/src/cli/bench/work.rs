//! What a bench submits: jobs whose specification is as long as the base line's records, for a label that no node has.
//!
//! Must not know how it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::NewRun;

use super::super::Failure;
use super::disk::RECORD_BYTES;
use crate::api::dto::Submit;

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Work {
    body: Arc<str>,
    run: Arc<NewRun>,
    /// Begins every key, so that no key is used twice, in this run or another.
    prefix: Arc<str>,
}

/// A submit with its key: sent again, it is the same run.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Its key.
    pub key: String,
    /// As it is sent over HTTP.
    pub body: Arc<str>,
    /// What the API makes of that; each run has an id of its own.
    pub run: Arc<NewRun>,
}

impl Work {
    /// A job of which nothing but its label is unlike any other small one. What is stored and handed on as its
    /// specification is [`RECORD_BYTES`] long; what is around it comes on top.
    ///
    /// # Errors
    /// [`Failure::Problem`] never in practice: a job that the API would not take.
    pub fn new() -> Result<Self, Failure> {
        let prefix = format!("bench-{:016x}", rand::random::<u64>());
        let mut job = Submit {
            name: "troupe bench".to_owned(),
            image: String::new(),
            script: "true #".to_owned(),
            env: BTreeMap::new(),
            labels: vec![format!("{prefix}-nowhere")],
            cpu_millis: 1000,
            memory_mib: 512,
            priority: 0,
            timeout_seconds: 60,
            artifacts: Vec::new(),
        };
        let spec_bytes = |run: &NewRun| run.specs.iter().map(|spec| spec.0.len()).sum::<usize>();
        // A text past 250 bytes has two more of length.
        let missing = RECORD_BYTES.saturating_sub(spec_bytes(&crate::api::new_run(job.clone())?) + 2);
        job.script.push_str(&"x".repeat(missing));
        let run = crate::api::new_run(job.clone())?;
        debug_assert_eq!(spec_bytes(&run), RECORD_BYTES);
        let body = serde_json::to_string(&job).map_err(std::io::Error::from)?;
        Ok(Self { body: body.into(), run: Arc::new(run), prefix: prefix.into() })
    }

    /// One of them.
    #[must_use]
    pub fn keyed(&self, stage: usize, number: usize) -> Keyed {
        let key = format!("{}-{stage}-{number}", self.prefix);
        Keyed { key, body: self.body.clone(), run: self.run.clone() }
    }
}
