//! Containers beside a job's own: begun before it, waited for until they are well, ended with it.
//!
//! They go by what the job's own container goes by: its lease, its permit, its slot. Whoever ends the attempt ends them
//! ([`Parts::end_container`]), and a later life of the node finds them by their labels.

use std::sync::Arc;
use std::time::Duration;

use domain::{Action, AttemptId, Container, Fence, Outcome, RepoId, Resources, Service, StepSpec};
use tokio::time::Instant;
use workflow::expression::Value;

use super::Parts;
use super::begin::NoStart;
use super::life::{Life, lease_of};
use crate::executor::beside::{Called, Standing, Volume, port, service_name};
use crate::executor::{Beside, BesideSpec, ContainerId, Error, Extras, Part, options, shares};

/// Between two looks at a service that is not well yet: short at first, for most are ready soon.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Lines of a service's own log that go into the job's when it fails.
const LAST_LINES: u32 = 200;
/// Most bytes of them.
const LAST_BYTES: usize = 64 * 1024;

/// The containers of a job, as its workflow describes them: what each may have. Pure.
#[derive(Debug, Clone, Default)]
pub(super) struct Company {
    /// Of the job's own.
    pub(super) extras: Extras,
    /// What the job's own has, when its services have theirs.
    pub(super) resources: Resources,
    /// Who pulls its image.
    pub(super) credentials: Option<(String, String)>,
    services: Vec<One>,
}

/// One service.
#[derive(Debug, Clone)]
struct One {
    name: String,
    container: Container,
    extras: Extras,
    resources: Resources,
}

impl Company {
    /// Of containers whose texts are computed. A service without an image is none. An error is in words, and names whose it is.
    pub(super) fn of(
        own: &Container,
        services: &[Service],
        job: Resources,
        repo: Option<RepoId>,
    ) -> Result<Self, String> {
        let named = |what: &str, error: Error| format!("{what}: {error}");
        let extras = read(own, repo).map_err(|e| named("container", e))?;
        let mut all = Vec::new();
        for Service { name, container } in
            services.iter().filter(|service| !service.container.image.is_empty())
        {
            let what = format!("services.{name}");
            let name = service_name(name).map_err(|e| named(&what, e))?;
            let extras = read(container, repo).map_err(|e| named(&what, e))?;
            all.push(One { name, container: container.clone(), extras, resources: job });
        }
        let memory: Vec<_> = all.iter().map(|one| one.extras.options.memory).collect();
        let (resources, shares) = shares::shares(job, &memory).map_err(|e| named("services", e))?;
        for (one, share) in all.iter_mut().zip(shares) {
            one.resources = share;
        }
        Ok(Self { extras, resources, credentials: credentials(own), services: all })
    }

    /// The context `job`, without its status. Nothing is bound on the node, so a service's ports are those by which its name answers.
    pub(super) fn context(&self, called: impl Fn(&Part) -> Called) -> Value {
        let container =
            |Called { id, network }: Called| [("id", Value::text(id)), ("network", Value::text(network))];
        let service = |one: &One| {
            let ports = one.container.ports.iter().filter_map(|text| port(text).ok());
            let ports =
                Value::object(ports.map(|(port, _)| (port.to_string(), Value::text(port.to_string()))));
            let own = container(called(&Part::Service(one.name.clone())));
            (one.name.clone(), Value::object(own.into_iter().chain([("ports", ports)])))
        };
        Value::object([
            ("container", Value::object(container(called(&Part::Job)))),
            ("services", Value::object(self.services.iter().map(service))),
        ])
    }

    /// Whether the job has services.
    pub(super) fn is_any(&self) -> bool {
        !self.services.is_empty()
    }
}

fn read(container: &Container, repo: Option<RepoId>) -> Result<Extras, Error> {
    container.ports.iter().try_for_each(|text| port(text).map(drop))?;
    let volumes = container.volumes.iter().map(|text| Volume::parse(text, repo));
    Ok(Extras { options: options::parse(&container.options)?, volumes: volumes.collect::<Result<_, _>>()? })
}

fn credentials(container: &Container) -> Option<(String, String)> {
    let (user, password) = &container.credentials;
    (!user.is_empty() || !password.is_empty()).then(|| container.credentials.clone())
}

impl Life {
    /// Whether anything may stand beside its container.
    pub(super) fn has_company(&self) -> bool {
        fn holds(steps: &[StepSpec]) -> bool {
            steps.iter().any(|step| match &step.action {
                Action::Docker { .. } => true,
                Action::Composite { steps, .. } => holds(steps),
                _ => false,
            })
        }
        self.given.company.is_any() || holds(&self.given.spec.steps)
    }

    /// Begins the services and waits until they are well, until then at most. What an earlier life left of them is removed: nothing has run beside
    /// them.
    pub(super) async fn begin_services(&mut self, deadline: Instant) -> Result<(), NoStart> {
        if !self.given.company.is_any() {
            return Ok(());
        }
        let parts = Arc::clone(&self.parts);
        let failed = |why: String| NoStart::Ended(Outcome::Failed, why);
        let none = "the jobs of this node are plain processes, so it has no services";
        let beside = parts.executor.beside().ok_or_else(|| failed(none.to_owned()))?;
        parts.end_beside(self.task.attempt, self.task.fence).await;
        let mut begun = Vec::new();
        for one in self.given.company.services.clone() {
            let (image, credentials) = (&one.container.image, credentials(&one.container));
            let otherwise = format!("the image {image} of service {} was not had", one.name);
            let had = self.patiently(|| beside.ensure_image_as(image, credentials.as_ref()));
            self.until(deadline, &otherwise, had).await?;
            let spec = self.service(&one).map_err(failed)?;
            let (id, _) = self.patiently(|| beside.start_beside(spec.clone(), false)).await?;
            self.tap.say(0, &format!("service {}: {image} was started", one.name)).await;
            begun.push((one.name, id));
        }
        for (name, id) in &begun {
            let well = async {
                let well = tokio::time::timeout_at(deadline, until_well(beside, name, id)).await;
                let why =
                    || format!("service {name} was not well within the job's limit of {:?}", self.limit());
                match well {
                    Ok(well) => well,
                    Err(_) => Err(unwell(beside, id, Outcome::TimedOut, why()).await),
                }
            };
            if let Err(Unwell { outcome, why, words }) = self.unless_ended(well).await? {
                let from = words.len().saturating_sub(LAST_BYTES);
                for line in String::from_utf8_lossy(&words[from..]).lines() {
                    self.tap.say(0, &format!("{name} | {line}")).await;
                }
                return Err(NoStart::Ended(outcome, why));
            }
        }
        Ok(())
    }

    fn service(&self, one: &One) -> Result<BesideSpec, String> {
        let Container { image, env, entrypoint, command, .. } = &one.container;
        let words = |text: &str| match text {
            "" => Ok(None),
            text => options::split(text).map(Some).map_err(|e| format!("services.{}: {e}", one.name)),
        };
        Ok(BesideSpec {
            attempt: self.task.attempt,
            fence: self.task.fence,
            part: Part::Service(one.name.clone()),
            image: image.clone(),
            permit: self.directories.permit.clone(),
            mounts: Vec::new(),
            workdir: None,
            env: env.clone(),
            entrypoint: words(entrypoint)?,
            command: words(command)?,
            resources: one.resources,
            pids: self.parts.options.pids,
            slot: self.task.slot,
            extras: one.extras.clone(),
            lease: lease_of(&self.task),
        })
    }
}

/// Why a service is not there.
struct Unwell {
    outcome: Outcome,
    why: String,
    /// The end of what it wrote.
    words: Vec<u8>,
}

/// Waits for it.
async fn until_well(beside: &dyn Beside, name: &str, id: &ContainerId) -> Result<(), Unwell> {
    let mut pause = LOOK_MIN;
    let why = loop {
        match beside.standing(id).await {
            Ok(Standing::Well) => return Ok(()),
            Ok(Standing::Unwell(words)) => break format!("service {name} is not well: {words}"),
            Ok(Standing::Ended(exit)) => {
                let memory = if exit.oom_killed { " for want of memory" } else { "" };
                break format!("service {name} ended with code {}{memory} before the job began", exit.code);
            }
            Ok(Standing::Starting) => {}
            Err(Error::Gone(_)) => {
                let why = format!("service {name} was removed by someone else");
                return Err(Unwell { outcome: Outcome::Lost, why, words: Vec::new() });
            }
            Err(error) => tracing::warn!(?id, %error, "a service waits for its executor"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    };
    Err(unwell(beside, id, Outcome::Failed, why).await)
}

/// With the end of what it wrote.
async fn unwell(beside: &dyn Beside, id: &ContainerId, outcome: Outcome, why: String) -> Unwell {
    let words = beside.last_output(id, LAST_LINES).await.unwrap_or_default();
    Unwell { outcome, why, words }
}

impl Parts {
    /// Sees that nothing of an attempt is left beside its own container, however long the executor takes to answer.
    pub(super) async fn end_beside(&self, attempt: AttemptId, fence: Fence) {
        while let Err(error) = self.try_to_end(attempt, fence, |part| *part != Part::Job).await {
            tracing::warn!(%attempt, %error, "cannot end what stands beside an attempt yet; its slot stays taken");
            tokio::time::sleep(super::life::RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Resources = Resources { cpu_millis: 500, memory_mib: 100 };

    fn service(name: &str, image: &str, options: &str) -> Service {
        let container =
            Container { image: image.to_owned(), options: options.to_owned(), ..Container::default() };
        Service { name: name.to_owned(), container }
    }

    #[test]
    fn a_job_and_its_services_are_read_whole_or_refused_by_name() -> Result<(), String> {
        let own = Container {
            volumes: vec!["data:/data".to_owned()],
            credentials: ("me".to_owned(), "secret".to_owned()),
            ..Container::default()
        };
        let services = [service("db", "postgres", "--memory 30m"), service("none", "", "--privileged")];
        let found = Company::of(&own, &services, JOB, Some(RepoId(1)))?;
        assert!(found.is_any() && found.services.len() == 1, "one without an image is none");
        assert_eq!((found.resources.memory_mib, found.services[0].resources.memory_mib), (70, 30));
        assert_eq!((found.extras.volumes.len(), found.credentials.is_some()), (1, true));
        let bad = |service: Service| {
            Company::of(&Container::default(), &[service], JOB, None).err().unwrap_or_default()
        };
        let of_ports =
            Container { image: "x".to_owned(), ports: vec!["x".to_owned()], ..Container::default() };
        for (service, words) in [
            (service("db", "x", "--privileged"), "services.db: "),
            (service("a b", "x", ""), "services.a b: "),
            (service("db", "x", "--memory 100m"), "services: "),
            (Service { name: "web".to_owned(), container: of_ports }, "services.web: "),
        ] {
            let why = bad(service);
            assert!(why.starts_with(words), "{why}");
        }
        let own = Container { options: "--pid host".to_owned(), ..Container::default() };
        assert!(Company::of(&own, &[], JOB, None).is_err_and(|why| why.starts_with("container: ")));
        Ok(())
    }
}
