//! What an undecided job is, once all that it needs has ended.

use domain::{Event, Undecided, Verdict};

use super::Mint;
use super::jobs::{Builder, Place, runs};
use crate::contexts::{self, Facts};
use crate::expression::{Object, Value};
use crate::graph::Before;
use crate::library::{Library, Used};
use crate::model::Files;
use crate::read;

/// What is asked about a job.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its specification.
    pub undecided: &'a Undecided,
    /// Its key in the run.
    pub key: &'a str,
    /// Its contexts, as the cluster carries them.
    pub contexts: &'a str,
    /// The event of its run.
    pub event: &'a Event,
    /// What is known of its run.
    pub facts: &'a Facts,
    /// How all jobs before it ended, by their ids.
    pub before: &'a Before<'a>,
    /// The context `needs`.
    pub needs: &'a Value,
}

struct Kept<'a>(&'a [(String, String)]);

impl Files for Kept<'_> {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        self.0.iter().find(|(path, _)| path == uses).map(|(_, text)| text.clone().into_bytes())
    }
}

/// Decides it. Whatever is wrong is a verdict, too: the person who looks at the run sees it.
#[must_use]
pub fn decide(asked: &Asked<'_>, mint: &dyn Mint) -> Verdict {
    verdict(asked, mint).unwrap_or_else(|reason| Verdict::Fail { reason })
}

fn verdict(asked: &Asked<'_>, mint: &dyn Mint) -> Result<Verdict, String> {
    let Undecided { path, files } = asked.undecided;
    let files = Kept(files);
    let bytes = files.file(&format!("./{path}")).ok_or_else(|| format!("{path} is not with the job"))?;
    let workflow = read(&bytes).0.ok_or_else(|| format!("{path} cannot be read again"))?;
    let (prefix, id) = match asked.key.rsplit_once('/') {
        Some((prefix, id)) => (format!("{prefix}/"), id),
        None => (String::new(), asked.key),
    };
    let job = workflow.jobs.iter().find(|job| job.id.value == id);
    let job = job.ok_or_else(|| format!("{path} has no job {id:?} any more"))?;
    let mut known = Object::default();
    known.insert("github", Value::Object(contexts::github(asked.event, asked.facts).into()));
    known.insert("vars", asked.facts.vars());
    known.insert("needs", asked.needs.clone());
    for (name, value) in contexts::read(asked.contexts).iter() {
        known.insert(name, value.clone());
    }
    let runs = |before: &Before<'_>| runs(job, before, &known).map_err(|found| format!("{path}:{found}"));
    if !runs(asked.before)? {
        return Ok(Verdict::Skip);
    }
    let lasting = runs(&Before { cancelled: true, ..asked.before.clone() })?;
    let library = Library::new(&files);
    let mut builder = Builder::new(path, Used::new(&library), mint);
    let (workflow, contexts) = (&workflow, &known);
    builder.only(
        job,
        &Place { path, bytes: &bytes, workflow, contexts, prefix: &prefix, group: None, depth: 1 },
        lasting,
    )?;
    let (jobs, specs) = builder.made();
    Ok(Verdict::Become { jobs, specs })
}
