//! Containers by the Docker engine, with defaults that a job cannot loosen. The only module that knows bollard.

mod beside;
mod blame;
mod body;
mod images;
mod whole;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, ContainerSummaryStateEnum, NetworkCreateRequest,
};
use bollard::query_parameters as query;
use bollard::{API_DEFAULT_VERSION, Docker};
use domain::{AttemptId, Fence, NodeId};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use self::blame::{of_question, of_start, status, words};
use self::images::Images;
use super::options::ContainerOptions;
use super::{Beside, ContainerId, ContainerSpec, Error, Executor, Exit, Found, FoundState, Lease, Part};
use crate::faults::{self, Bug, Point};

const NODE: &str = "troupe.node";
const ATTEMPT: &str = "troupe.attempt";
const FENCE: &str = "troupe.fence";
const SLOT: &str = "troupe.slot";
/// What a container is to its attempt; the job's own has none.
const PART: &str = "troupe.part";

/// How the engine is reached and how long it is waited for.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// Its socket; none for `DOCKER_HOST` or the default one.
    pub socket: Option<PathBuf>,
    /// For the beginning of an answer, whole seconds, at least one.
    pub answer: Duration,
    /// A pull of which nothing is heard for so long is given up.
    pub pull_stall: Duration,
    /// `UID:GID` of containers that see a workspace and whose workflow names no user; none for those of their images.
    pub user: Option<String>,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            socket: None,
            answer: Duration::from_secs(120),
            pull_stall: Duration::from_secs(300),
            user: None,
        }
    }
}

/// What the names of a node's networks begin with; the number of a slot follows.
fn network_prefix(node: NodeId) -> String {
    format!("troupe-{node}-slot-")
}

fn network_of(node: NodeId, slot: u16) -> String {
    format!("{}{slot}", network_prefix(node))
}

/// The engine, once its socket was there.
#[derive(Debug)]
struct Engine {
    docker: Docker,
    node: NodeId,
    init: PathBuf,
    images: Images,
    answer: Duration,
    user: Option<String>,
}

impl Engine {
    fn connect(node: NodeId, init: PathBuf, options: &DockerOptions) -> Result<Self, Bollard> {
        let DockerOptions { socket, answer, pull_stall, user } = options;
        let docker = match socket {
            Some(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), answer.as_secs(), API_DEFAULT_VERSION)
            }
            None => Docker::connect_with_defaults(),
        };
        let docker = docker?.with_timeout(*answer);
        let images = Images::new(docker.clone(), *pull_stall);
        Ok(Self { docker, node, init, images, answer: *answer, user: user.clone() })
    }

    /// A filter for what is this node's.
    fn mine(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{NODE}={}", self.node)])])
    }

    async fn network(&self, slot: u16) -> Result<String, Error> {
        let name = network_of(self.node, slot);
        match self.docker.inspect_network(&name, None).await {
            Ok(_) => return Ok(name),
            Err(e) if status(&e) == Some(404) => {}
            Err(e) => return Err(of_question("inspect the network", &e)),
        }
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            labels: Some(HashMap::from([(NODE.to_owned(), self.node.to_string())])),
            ..Default::default()
        };
        let made = self.docker.create_network(request).await;
        made.map_err(|e| of_start("create the network", &e))?;
        Ok(name)
    }

    async fn forget_networks(&self, from: u16) -> Result<(), Error> {
        let options = query::ListNetworksOptions { filters: Some(self.mine()) };
        let all = self.docker.list_networks(Some(options)).await;
        let prefix = network_prefix(self.node);
        let slot = |name: &str| name.strip_prefix(&prefix)?.parse::<u16>().ok();
        for name in all.map_err(|e| of_question("list networks", &e))?.into_iter().filter_map(|n| n.name) {
            if slot(&name).is_none_or(|slot| slot < from) {
                continue;
            }
            match self.docker.remove_network(&name).await {
                Ok(()) => tracing::info!(name, "the network of a slot that is no more was removed"),
                // Something runs in it still; the engine has had several codes for that.
                Err(e) if matches!(status(&e), Some(403 | 404 | 409)) => {
                    tracing::debug!(name, error = %e, "a network stays for now");
                }
                Err(e) => return Err(of_question("remove the network", &e)),
            }
        }
        Ok(())
    }

    /// As who it runs, when its workflow does not say. Such a user has no directory in the image, so that theirs is a temporary one.
    fn as_user(&self, options: &mut ContainerOptions) {
        if let (Some(user), None) = (&self.user, &options.user) {
            options.user = Some(user.clone());
            if options.env.iter().all(|(name, _)| name != "HOME") {
                options.env.push(("HOME".to_owned(), "/tmp".to_owned()));
            }
        }
    }

    async fn create(&self, mut spec: ContainerSpec) -> Result<ContainerId, Error> {
        self.as_user(&mut spec.extras.options);
        let network = self.network(spec.slot).await?;
        self.make_volumes(&spec.extras).await?;
        let by_name = faults::is(Bug::AdoptByName);
        let name = match by_name {
            true => format!("troupe-{}", spec.attempt.job).replace('/', "-"),
            false => beside::named(spec.attempt, &Part::Job),
        };
        let (whose, lease) = ((spec.attempt, spec.fence, Part::Job), spec.lease.clone());
        let body = body::of_job(spec, &self.init, network)?;
        let (id, ran) = match self.make(&name, whose, body).await {
            Err(Error::Unreachable(_)) if by_name => return Ok(ContainerId(name)),
            made => made?,
        };
        if ran {
            return Ok(id);
        }
        faults::at(Point::Created).await;
        self.start_made(&id, &lease).await?;
        Ok(id)
    }

    /// Makes a container; the one that is there already when it is the same attempt's, under the same fence, and whether
    /// that was started.
    async fn make(
        &self,
        name: &str,
        (attempt, fence, part): (AttemptId, Fence, Part),
        body: ContainerCreateBody,
    ) -> Result<(ContainerId, bool), Error> {
        let options = query::CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        match self.docker.create_container(Some(options), body).await {
            Ok(made) => Ok((ContainerId(made.id), false)),
            Err(e) if status(&e) == Some(409) => {
                let found = self.all().await?;
                let same =
                    found.into_iter().find(|f| f.attempt == attempt && f.fence == fence && f.part == part);
                let id = same.ok_or_else(|| of_start("create the container", &e))?.id;
                let ran = self.was_started(&id).await?;
                Ok((id, ran))
            }
            Err(e) => Err(of_start("create the container", &e)),
        }
    }

    async fn start_made(&self, id: &ContainerId, lease: &Lease) -> Result<(), Error> {
        if !lease.holds() {
            return Err(Error::NoLease);
        }
        match self.docker.start_container(&id.0, None).await {
            Ok(()) => Ok(()),
            Err(e) => {
                if status(&e) == Some(404) {
                    self.discard(id).await;
                }
                Err(of_start("start the container", &e))
            }
        }
    }

    /// What it was made with is gone (its network was removed by someone): the next try makes it anew. Not by force: one
    /// that runs after all is left.
    async fn discard(&self, id: &ContainerId) {
        if let Err(error) = self.docker.remove_container(&id.0, None).await {
            tracing::debug!(id = id.0, %error, "a container that did not start cannot be removed");
        }
    }

    /// One that was started may have ended: starting it again would run the attempt twice.
    async fn was_started(&self, id: &ContainerId) -> Result<bool, Error> {
        let seen = self.docker.inspect_container(&id.0, None).await;
        let seen = seen.map_err(|e| of_question("inspect the container", &e))?;
        Ok(seen.state.and_then(|state| state.status) != Some(ContainerStateStatusEnum::CREATED))
    }

    async fn end(&self, id: String) -> Result<Exit, Error> {
        let mut ends = self.docker.wait_container(&id, None::<query::WaitContainerOptions>).boxed();
        let (code, error) = match ends.next().await {
            Some(Ok(end)) => (end.status_code, None),
            Some(Err(Bollard::DockerContainerWaitError { error, code })) => (code, Some(error)),
            Some(Err(e)) if status(&e) == Some(404) => return Err(Error::Gone(id)),
            Some(Err(e)) => return Err(of_question("wait for the container", &e)),
            None => return Err(Error::Unreachable("the wait for a container was cut off".into())),
        };
        let seen = self.docker.inspect_container(&id, None).await;
        let state = match seen {
            Ok(seen) => seen.state,
            Err(e) if status(&e) == Some(404) => None,
            Err(e) => return Err(of_question("inspect the container", &e)),
        };
        let oom_killed = state.and_then(|s| s.oom_killed).unwrap_or(false);
        Ok(Exit { code, oom_killed, error: error.filter(|e| !e.is_empty()) })
    }

    async fn all(&self) -> Result<Vec<Found>, Error> {
        let options =
            query::ListContainersOptions { all: true, filters: Some(self.mine()), ..Default::default() };
        let all = self.docker.list_containers(Some(options)).await;
        let all = all.map_err(|e| of_question("list containers", &e))?;
        let found = all.into_iter().filter_map(|c| {
            let labels = c.labels?;
            let attempt = parse_attempt(labels.get(ATTEMPT)?)?;
            let fence = Fence(labels.get(FENCE)?.parse().ok()?);
            let part = labels.get(PART).map_or(Ok(Part::Job), |part| part.parse()).ok()?;
            let state = match c.state? {
                ContainerSummaryStateEnum::CREATED => FoundState::Created,
                ContainerSummaryStateEnum::PAUSED => FoundState::Paused,
                ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD => FoundState::Ended,
                _ => FoundState::Running,
            };
            let slot = labels.get(SLOT).and_then(|slot| slot.parse().ok());
            Some(Found { id: ContainerId(c.id?), attempt, fence, part, slot, state })
        });
        Ok(found.collect())
    }
}

impl Engine {
    async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        // Whole seconds for the engine: none of the grace is taken away.
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = query::StopContainerOptions { t: Some(seconds), ..Default::default() };
        // The answer comes when it has ended.
        let docker = self.docker.clone().with_timeout(self.answer.saturating_add(grace));
        gone_is_fine(docker.stop_container(id, Some(options)).await, "stop the container")
    }

    /// With what stands beside it.
    async fn pause(&self, id: &ContainerId) -> Result<(), Error> {
        so_is_fine(self.docker.pause_container(&id.0).await, "pause the container")?;
        for beside in self.all_beside(id).await? {
            so_is_fine(self.docker.pause_container(&beside.0).await, "pause the container")?;
        }
        Ok(())
    }

    /// What stands beside it first: what wakes looks for it.
    async fn unpause(&self, id: &ContainerId) -> Result<(), Error> {
        for beside in self.all_beside(id).await? {
            so_is_fine(self.docker.unpause_container(&beside.0).await, "unpause the container")?;
        }
        so_is_fine(self.docker.unpause_container(&id.0).await, "unpause the container")
    }

    async fn all_beside(&self, id: &ContainerId) -> Result<Vec<ContainerId>, Error> {
        let all = self.all().await?;
        let Some(own) = all.iter().find(|found| found.id == *id) else { return Ok(Vec::new()) };
        let same =
            |found: &&Found| found.attempt == own.attempt && found.fence == own.fence && found.id != *id;
        Ok(all.iter().filter(same).map(|found| found.id.clone()).collect())
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        let options = query::RemoveContainerOptions { force: true, v: true, ..Default::default() };
        gone_is_fine(self.docker.remove_container(id, Some(options)).await, "remove the container")
    }
}

/// Runs attempts on the Docker engine of this machine.
#[derive(Debug)]
pub struct DockerExecutor {
    node: NodeId,
    init: PathBuf,
    options: DockerOptions,
    engine: OnceLock<Engine>,
}

impl DockerExecutor {
    /// Uses the engine that `DOCKER_HOST` or the default socket leads to; `init` is the installed init. The engine need not run.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the address makes no sense.
    pub fn connect(node: NodeId, init: PathBuf) -> Result<Self, Error> {
        Self::connect_with(node, init, DockerOptions::default())
    }

    /// As [`DockerExecutor::connect`], with options.
    ///
    /// # Errors
    /// As [`DockerExecutor::connect`].
    pub fn connect_with(node: NodeId, init: PathBuf, options: DockerOptions) -> Result<Self, Error> {
        let executor = Self { node, init, options, engine: OnceLock::new() };
        match Engine::connect(node, executor.init.clone(), &executor.options) {
            Ok(engine) => drop(executor.engine.set(engine)),
            // It has not started yet, as after a reboot: looked for again whenever it is needed.
            Err(Bollard::SocketNotFoundError(_)) => {}
            Err(error) => return Err(Error::Unreachable(error.to_string())),
        }
        Ok(executor)
    }

    /// Whether the engine runs as the user that started it, so that root in a container is that user.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn is_rootless(&self) -> Result<bool, Error> {
        let about = self.engine()?.docker.info().await.map_err(|e| of_question("say how it runs", &e))?;
        Ok(about.security_options.unwrap_or_default().iter().any(|option| option == "name=rootless"))
    }

    fn engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::connect(self.node, self.init.clone(), &self.options);
        let engine = engine.map_err(|error| Error::Unreachable(error.to_string()))?;
        Ok(self.engine.get_or_init(|| engine))
    }
}

impl Executor for DockerExecutor {
    fn seen(&self, _: &Path, inside: &str) -> PathBuf {
        PathBuf::from(inside)
    }

    fn ensure_image(&self, image: &str) -> BoxFuture<'_, Result<(), Error>> {
        let image = image.to_owned();
        async move { self.engine()?.images.ensure(&image).await }.boxed()
    }

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<ContainerId, Error>> {
        async move { self.engine()?.create(spec).await }.boxed()
    }

    fn wait(&self, id: &ContainerId) -> BoxFuture<'_, Result<Exit, Error>> {
        let id = id.0.clone();
        async move { self.engine()?.end(id).await }.boxed()
    }

    fn pause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        let id = id.clone();
        async move { self.engine()?.pause(&id).await }.boxed()
    }

    fn unpause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        let id = id.clone();
        async move { self.engine()?.unpause(&id).await }.boxed()
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let id = id.0.clone();
        async move { self.engine()?.stop(&id, grace).await }.boxed()
    }

    fn remove(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        let id = id.0.clone();
        async move { self.engine()?.remove(&id).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        async move { self.engine()?.all().await }.boxed()
    }

    fn forget_slots(&self, from: u16) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.engine()?.forget_networks(from).await }.boxed()
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }
}

fn parse_attempt(text: &str) -> Option<AttemptId> {
    let (job, number) = text.split_once('/')?;
    Some(AttemptId { job: job.parse().ok()?, number: number.parse().ok()? })
}

/// It is so already, or it has ended.
fn so_is_fine(done: Result<(), Bollard>, action: &'static str) -> Result<(), Error> {
    // Not every version has a status of its own for it.
    let so = |e: &Bollard| ["is not paused", "is already paused"].iter().any(|so| words(e).contains(so));
    match done {
        Err(e) if !matches!(status(&e), Some(404 | 409)) && !so(&e) => Err(of_question(action, &e)),
        _ => Ok(()),
    }
}

fn gone_is_fine(done: Result<(), Bollard>, action: &'static str) -> Result<(), Error> {
    match done {
        Err(e) if status(&e) != Some(404) => Err(of_question(action, &e)),
        _ => Ok(()),
    }
}
