//! `troupe workflow run`: a workflow on this machine's Docker, without a cluster.
//!
//! It is a cluster of one, in this process and for this run alone: steps, services, caches and masks are those of any node. Must not
//! know how they work.

mod abandoned;
mod artifacts;
pub mod checkout;
mod follow;
mod git;
mod interrupts;
mod lines;
pub mod machine;
mod occasion;
mod only;
mod port;
mod room;
mod secrets;
mod snapshot;

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::{Command, DeliveryId, DeliveryState, Event, Reply, RepoName, RunId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::client::escaped;
use super::lint::{self, Format};
use super::repos::at;
use super::submit::bytes_of;
use super::{Failure, dispatches, plan, runs, table};
use crate::api::dto::{PutRepo, PutSecret, PutVariable, RunView};
use crate::config::Config;
use checkout::Checkout;
use follow::Ended;
use interrupts::Interrupts;
use lines::To;
use machine::{Access, Machine};
use port::Port;
use snapshot::{Instead, Snapshot};

/// `troupe workflow run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file, in a git checkout.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What happened, as `plan` takes it. Without it, a push of what is checked out; by hand, where the workflow knows no push.
    #[arg(long, value_name = "EVENT.json", conflicts_with = "input")]
    event: Option<PathBuf>,
    /// An input of the workflow, which is then asked for by hand; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = dispatches::input)]
    input: Vec<(String, String)>,
    /// A secret of the jobs, from the variable of its name unless the value is given, which shows in the list of processes; may be
    /// given several times.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = secrets::named)]
    secret: Vec<secrets::Named>,
    /// A file with secrets: NAME=VALUE on each line; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A variable that workflows find as vars.NAME; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = dispatches::input)]
    var: Vec<(String, String)>,
    /// Only this job and what it needs.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// A label that this machine has, and the image of jobs that ask for it and name none; may be given several times.
    #[arg(long, value_name = "LABEL[=IMAGE]", value_parser = label)]
    label: Vec<(String, Option<String>)>,
    /// Brings artifacts into this folder.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// A node's configuration, whose images, labels and limits hold; without one, defaults and environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, Option<String>), String> {
    let (label, image) = match text.split_once('=') {
        Some((label, image)) => (label, Some(image.to_owned())),
        None => (text, None),
    };
    let fine = !label.is_empty() && image.as_deref() != Some("");
    if fine { Ok((label.to_owned(), image)) } else { Err("expected LABEL or LABEL=IMAGE".to_owned()) }
}

/// What there is to run.
struct Wanted {
    checkout: Checkout,
    event: Event,
    instead: Option<Instead>,
    secrets: Vec<(String, String)>,
    config: Config,
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: Args, json: bool) -> Result<u8, Failure> {
    let bytes = bytes_of(&args.file)?;
    if workflow::lint(&bytes, &lint::Checkout::around(&args.file)).is_err() {
        return lint::run(&[args.file], if json { Format::Json } else { Format::Text });
    }
    let mut wanted = wanted(&args, &bytes).await?;
    machine::look_at_engine(&mut wanted.config).await?;
    let interrupts = Interrupts::listen()?;
    let started = async {
        abandoned::remove(&wanted.config).await;
        Machine::start(wanted.config.clone(), &args.label).await
    };
    let machine = tokio::select! {
        started = started => started?,
        () = interrupts.reach(1) => return Err(Failure::Interrupted),
    };
    on(machine, &args, wanted, &interrupts, json).await
}

/// Everything that can be wrong with what is asked for, before anything begins.
async fn wanted(args: &Args, bytes: &[u8]) -> Result<Wanted, Failure> {
    let secrets = secrets::all(&args.secret, args.secret_file.as_deref())?;
    let config = Config::load(args.config.as_deref())?;
    let checkout = Checkout::around(&args.file).await?;
    let model = workflow::read(bytes).0;
    let event = occasion::event(args.event.as_deref(), &args.input, &checkout, model.as_ref())?;
    let file = args.file.display().to_string();
    let here = lint::Checkout(checkout.top.clone());
    if plan::planned((&checkout.workflow, bytes), &here, &event, None, args.var.clone()).is_none() {
        return Err(Failure::NoRun { file, why: plan::why_no_run(&event, model.as_ref()) });
    }
    let mut instead = None;
    if let (Some(job), Some(model)) = (&args.job, &model) {
        let text = String::from_utf8_lossy(bytes);
        let cut = only::only(&text, model, job).map_err(|why| match why {
            only::Uncut::NoSuchJob(jobs) => {
                Failure::NoSuchJob { file: file.clone(), job: job.clone(), jobs: jobs.join(", ") }
            }
            only::Uncut::Flow => {
                let why =
                    format!("--job needs jobs that begin on lines of their own, and those of {file} do not");
                Failure::NotMade { why }
            }
        })?;
        if let Err(wrong) = workflow::lint(cut.as_bytes(), &here) {
            let why = wrong.first().map(ToString::to_string).unwrap_or_default();
            return Err(Failure::NotMade { why: format!("without its other jobs, {file} is wrong: {why}") });
        }
        instead = Some(Instead { path: checkout.workflow.clone(), text: cut.into_bytes() });
    }
    Ok(Wanted { checkout, event, instead, secrets, config })
}

/// Runs it on the machine, and ends the machine.
async fn on(
    mut machine: Machine,
    args: &Args,
    wanted: Wanted,
    interrupts: &Interrupts,
    json: bool,
) -> Result<u8, Failure> {
    let to = if json { To::Error } else { To::Out };
    let access = machine.access();
    let ended = tokio::select! {
        ended = course(&access, args, wanted, interrupts, to) => ended,
        error = machine.failed() => Err(error),
        // Without asking what still runs.
        () = interrupts.reach(2) => Ok(None),
    };
    // Whatever happened, nothing is to be left.
    let stopped = machine.stop().await;
    // How it ended is said first: that holds, whatever is left.
    let code = match ended {
        Ok(Some(ended)) => shown(&ended, json),
        Ok(None) => Err(Failure::Interrupted),
        Err(error) => Err(error),
    };
    match (code, stopped) {
        (Err(error), Err(left)) => {
            table::say(&left.to_string());
            Err(error)
        }
        (code, stopped) => stopped.map_err(Failure::from).and(code),
    }
}

/// From sources to artifacts; none when it was interrupted before there was a run.
async fn course(
    machine: &Access,
    args: &Args,
    wanted: Wanted,
    interrupts: &Interrupts,
    to: To,
) -> Result<Option<Ended>, Failure> {
    let made = async {
        let Wanted { checkout, event, instead, secrets, .. } = wanted;
        let sources = snapshot::take(&checkout, &machine.sources, &event.git_ref, instead).await?;
        let Snapshot { dir, commit } = &sources;
        let event = occasion::at(event, &checkout, commit, &checkout.message().await?);
        table::say(&format!("{} for {}", checkout.workflow, told(&event, &checkout)));
        let port = Port::open(dir).await?;
        let repo = &checkout.name;
        register(machine, repo, &port, secrets, &args.var).await?;
        let delivery = deliver(machine, repo, event, &checkout.workflow).await?;
        Ok::<_, Failure>((expanded(machine, delivery).await?, port))
    };
    // The port is open as long as jobs may fetch.
    let (id, _port) = tokio::select! {
        made = made => made?,
        () = interrupts.reach(1) => return Ok(None),
    };
    let ended = follow::follow(machine, id, interrupts, to).await?;
    if let Some(dir) = &args.artifacts {
        artifacts::bring(&machine.client, id, &ended.run, dir).await?;
    }
    Ok(Some(ended))
}

/// What is run, for people.
fn told(event: &Event, checkout: &Checkout) -> String {
    let changed = checkout.head.as_deref() != Some(event.commit.as_str());
    let with = if changed { ", with what is not committed" } else { "" };
    let commit: String = event.commit.chars().take(12).collect();
    format!("{} of {} at {commit}{with}", event.kind.as_str(), event.git_ref)
}

async fn register(
    machine: &Access,
    repo: &RepoName,
    port: &Port,
    secrets: Vec<(String, String)>,
    variables: &[(String, String)],
) -> Result<(), Failure> {
    let client = &machine.client;
    let body = PutRepo {
        clone_url: port.url.clone(),
        webhook_secret: Some(format!("{:032x}", rand::random::<u128>())),
        labels: Vec::new(),
        token: None,
        ssh_key: None,
        statuses: None,
        approve_forks: Some(false),
    };
    let _answer: Value = client.call(Method::PUT, &at(repo), &body).await?;
    for (name, value) in secrets {
        let path = format!("{}/secrets/{}", at(repo), escaped(&name));
        let _answer: Value = client.call(Method::PUT, &path, &PutSecret { value }).await?;
    }
    for (name, value) in variables {
        let path = format!("{}/variables/{}", at(repo), escaped(name));
        let _answer: Value = client.call(Method::PUT, &path, &PutVariable { value: value.clone() }).await?;
    }
    Ok(())
}

/// As a webhook that was verified.
async fn deliver(
    machine: &Access,
    repo: &RepoName,
    event: Event,
    workflow: &str,
) -> Result<DeliveryId, Failure> {
    let not_made = |why: String| Failure::NotMade { why };
    let state = machine.store.state();
    let known = state.repos.iter().find(|(_, known)| known.name == *repo);
    let (repo, _) = known.ok_or_else(|| not_made("its repository is not known".to_owned()))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let id = DeliveryId::from_parts(Timestamp(now.as_millis() as u64), rand::random());
    let command = Command::AcceptDelivery {
        id,
        repo: *repo,
        key: String::new(),
        digest: Sha256::digest(id.to_string()).into(),
        event,
        only_path: workflow.to_owned(),
    };
    match machine.store.propose(command).await.map_err(|error| not_made(error.to_string()))?.reply {
        Reply::Delivery { id, .. } => Ok(id),
        Reply::Refused(refusal) => Err(not_made(refusal.to_string())),
        other => Err(not_made(format!("{other:?}"))),
    }
}

/// Its run, once it was made. What a node would try again fails here: what it reads is on this machine.
async fn expanded(machine: &Access, id: DeliveryId) -> Result<RunId, Failure> {
    let mut applied = machine.store.applied();
    loop {
        applied.mark_unchanged();
        let state = machine.store.state();
        match state.deliveries.get(&id).map(|delivery| &delivery.state) {
            Some(DeliveryState::Expanded { runs, reason }) => {
                let none = || Failure::NotMade { why: format!("nothing came of it: {reason}") };
                return runs.first().copied().ok_or_else(none);
            }
            Some(DeliveryState::Pending { reason, .. }) if !reason.is_empty() => {
                return Err(Failure::NotMade { why: reason.to_string() });
            }
            _ => {}
        }
        if applied.changed().await.is_err() {
            return Err(Failure::NotMade { why: "the node in this process ended".to_owned() });
        }
    }
}

/// Shows how it ended; the answer is the exit code.
fn shown(ended: &Ended, json: bool) -> Result<u8, Failure> {
    let Ended { run, stuck } = ended;
    let code = runs::exit_code(run.outcome.as_deref());
    if json {
        let mut view = json!(run);
        view["cannot_run_here"] = json!(stuck);
        table::pretty(&view)?;
        return Ok(code);
    }
    if !run.jobs.is_empty() {
        table::print("")?;
        table::table(&["job", "outcome", "took", "reason"], rows(run, stuck))?;
    }
    if let Some(error) = &run.error {
        table::say(error);
    }
    table::print(&format!("run {}", run.outcome.as_deref().unwrap_or_default().replace('_', " ")))?;
    Ok(code)
}

fn rows<'a>(run: &'a RunView, stuck: &'a BTreeMap<String, String>) -> impl Iterator<Item = Vec<String>> + 'a {
    run.jobs.iter().filter(|job| job.form != "group").map(|job| {
        let outcome = job.outcome.as_deref().unwrap_or_default().replace('_', " ");
        let why = stuck.get(&job.key).or(job.reason.as_ref());
        let took = table::took(job.started_at, job.finished_at);
        vec![job.key.clone(), outcome, took, table::or_dash(why.map(String::as_str))]
    })
}
