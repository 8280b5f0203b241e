//! Containers beside those of jobs, and what is read from and put into any of them.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::models::{ContainerStateStatusEnum, HealthStatusEnum, VolumeCreateRequest};
use bollard::query_parameters as query;
use bytes::Bytes;
use domain::{AttemptId, RepoId};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::super::beside::{Beside, BesideSpec, Bytestream, Called, MadeWith, Standing};
use super::super::{ContainerId, Error, Exit, Extras, Part};
use super::blame::{of_question, of_start, status};
use super::{DockerExecutor, Engine, NODE, body, gone_is_fine, network_of};

/// Whose a volume is.
const REPO: &str = "troupe.repo";
/// Most bytes of a health check's words that are told.
const WORDS: usize = 1000;

impl Engine {
    pub(super) async fn make_volumes(&self, extras: &Extras) -> Result<(), Error> {
        for volume in &extras.volumes {
            let Some((repo, name)) = &volume.name else { continue };
            let labels = HashMap::from([
                (NODE.to_owned(), self.node.to_string()),
                (REPO.to_owned(), repo.to_string()),
            ]);
            // No error when it is there already.
            let request = VolumeCreateRequest {
                name: Some(body::volume(self.node, *repo, name)),
                labels: Some(labels),
                ..Default::default()
            };
            let made = self.docker.create_volume(request).await;
            made.map_err(|e| of_start("create a volume", &e))?;
        }
        Ok(())
    }

    /// What it runs: the image's own command is not of any use to another entrypoint.
    async fn argv(&self, spec: &BesideSpec) -> Result<Vec<String>, Error> {
        let image = self.docker.inspect_image(&spec.image).await;
        let image = image.map_err(|e| of_start("inspect the image", &e))?.config.unwrap_or_default();
        let of_options = spec.extras.options.entrypoint.as_ref();
        let own = spec
            .entrypoint
            .clone()
            .or_else(|| of_options.map(|one| if one.is_empty() { Vec::new() } else { vec![one.clone()] }));
        let command = match (&spec.command, &own) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => image.cmd.unwrap_or_default(),
        };
        let argv: Vec<_> = own.or(image.entrypoint).unwrap_or_default().into_iter().chain(command).collect();
        if argv.is_empty() {
            let why = format!("the image {} says nothing to run, and neither does the workflow", spec.image);
            return Err(Error::Refused { action: "start a container", why });
        }
        Ok(argv)
    }

    async fn create_beside(
        &self,
        mut spec: BesideSpec,
        heard: bool,
    ) -> Result<(ContainerId, Bytestream), Error> {
        // A service sees no workspace.
        if !matches!(spec.part, Part::Service(_)) {
            self.as_user(&mut spec.extras.options);
        }
        let network = self.network(spec.slot).await?;
        self.make_volumes(&spec.extras).await?;
        let argv = self.argv(&spec).await?;
        let name = named(spec.attempt, &spec.part);
        let (whose, lease) = ((spec.attempt, spec.fence, spec.part.clone()), spec.lease.clone());
        let body = body::beside(spec, self.node, &self.init, network, argv)?;
        let (id, ran) = self.make(&name, whose, body).await?;
        let output = match (heard, ran) {
            (false, _) => futures::stream::empty().boxed(),
            (true, false) => self.listen(&id).await?,
            (true, true) => self.repeat(&id),
        };
        if !ran {
            self.start_made(&id, &lease).await?;
        }
        Ok((id, output))
    }

    /// What it writes from now on.
    async fn listen(&self, id: &ContainerId) -> Result<Bytestream, Error> {
        let options =
            query::AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let attached = self.docker.attach_container(&id.0, Some(options)).await;
        let output = attached.map_err(|e| of_question("attach to the container", &e))?.output;
        let bytes = output.map_ok(LogOutput::into_bytes);
        Ok(bytes.map_err(|e| of_question("read the output of the container", &e)).boxed())
    }

    /// What it has written since it began, as far as that is kept, and what it writes until its end. That may have been long ago:
    /// who attaches to one that has ended would wait for ever.
    fn repeat(&self, id: &ContainerId) -> Bytestream {
        let options = query::LogsOptions { follow: true, stdout: true, stderr: true, ..Default::default() };
        let output = self.docker.logs(&id.0, Some(options)).map_ok(LogOutput::into_bytes);
        output.map_err(|e| of_question("read the container's log", &e)).boxed()
    }

    async fn look_at(&self, id: &str) -> Result<Standing, Error> {
        let seen = match self.docker.inspect_container(id, None).await {
            Err(e) if status(&e) == Some(404) => return Err(Error::Gone(id.to_owned())),
            seen => seen.map_err(|e| of_question("inspect the container", &e))?,
        };
        let state = seen.state.unwrap_or_default();
        if matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)) {
            return Ok(Standing::Ended(Exit {
                code: state.exit_code.unwrap_or(-1),
                oom_killed: state.oom_killed.unwrap_or(false),
                error: state.error.filter(|e| !e.is_empty()),
            }));
        }
        let health = state.health.unwrap_or_default();
        Ok(match health.status {
            Some(HealthStatusEnum::STARTING) => Standing::Starting,
            Some(HealthStatusEnum::UNHEALTHY) => {
                let last = health.log.unwrap_or_default().pop().and_then(|check| check.output);
                Standing::Unwell(last.unwrap_or_default().trim().chars().take(WORDS).collect())
            }
            // It checks nothing, or found nothing wrong.
            _ => Standing::Well,
        })
    }

    async fn end_of_output(&self, id: &str, lines: u32) -> Result<Vec<u8>, Error> {
        let options =
            query::LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..Default::default() };
        let mut bytes = Vec::new();
        let mut logs = self.docker.logs(id, Some(options)).boxed();
        while let Some(part) = logs.next().await {
            bytes.extend_from_slice(
                &part.map_err(|e| of_question("read the container's log", &e))?.into_bytes(),
            );
        }
        Ok(bytes)
    }

    async fn download(&self, id: &str, path: &str) -> Result<Option<Bytestream>, Error> {
        let options = query::DownloadFromContainerOptions { path: path.to_owned() };
        let failed = |e: Bollard| of_question("read files of the container", &e);
        let mut parts = self.docker.download_from_container(id, Some(options)).boxed();
        // The first part tells whether there is anything.
        match parts.next().await {
            None => Ok(None),
            Some(Err(e)) if status(&e) == Some(404) => Ok(None),
            Some(Err(e)) => Err(failed(e)),
            Some(Ok(first)) => {
                let first = futures::stream::once(async { Ok(first) });
                Ok(Some(first.chain(parts.map_err(failed)).boxed()))
            }
        }
    }

    async fn made_with(&self, id: &str) -> Result<MadeWith, Error> {
        let seen = self.docker.inspect_container(id, None).await;
        let config = seen.map_err(|e| of_question("inspect the container", &e))?.config.unwrap_or_default();
        let pair =
            |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = config.env.unwrap_or_default().into_iter().filter_map(pair).collect();
        Ok(MadeWith { env, user: config.user.unwrap_or_default() })
    }

    async fn remove_volumes(&self, used: &(dyn Fn(RepoId) -> bool + Sync)) -> Result<(), Error> {
        let options = query::ListVolumesOptions { filters: Some(self.mine()) };
        let listed = self.docker.list_volumes(Some(options)).await;
        let listed = listed.map_err(|e| of_question("list volumes", &e))?;
        for volume in listed.volumes.unwrap_or_default() {
            let repo = volume.labels.get(REPO).and_then(|repo| repo.parse().ok());
            if repo.is_none_or(used) {
                continue;
            }
            let removed = self.docker.remove_volume(&volume.name, None::<query::RemoveVolumeOptions>).await;
            match removed {
                // A container has it still.
                Err(e) if status(&e) == Some(409) => {}
                removed => {
                    gone_is_fine(removed, "remove a volume")?;
                    tracing::info!(name = volume.name, "a volume of a repository that is gone was removed");
                }
            }
        }
        Ok(())
    }
}

/// A container's name.
pub(super) fn named(attempt: AttemptId, part: &Part) -> String {
    let name = match part {
        Part::Job => format!("troupe-{attempt}"),
        part => format!("troupe-{attempt}-{part}"),
    };
    name.replace(['/', ':'], "-")
}

impl Beside for DockerExecutor {
    fn called(&self, attempt: AttemptId, part: &Part, slot: u16) -> Called {
        Called { id: named(attempt, part), network: network_of(self.node, slot) }
    }

    fn ensure_image_as<'a>(
        &'a self,
        image: &'a str,
        credentials: Option<&'a (String, String)>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let credentials = credentials.map(|(username, password)| DockerCredentials {
            username: Some(username.clone()),
            password: Some(password.clone()),
            ..Default::default()
        });
        async move {
            match credentials {
                None => self.engine()?.images.ensure(image).await,
                Some(credentials) => self.engine()?.images.pull_as(image, credentials).await,
            }
        }
        .boxed()
    }

    fn start_beside(
        &self,
        spec: BesideSpec,
        heard: bool,
    ) -> BoxFuture<'_, Result<(ContainerId, Bytestream), Error>> {
        async move { self.engine()?.create_beside(spec, heard).await }.boxed()
    }

    fn standing<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Standing, Error>> {
        async move { self.engine()?.look_at(&id.0).await }.boxed()
    }

    fn last_output<'a>(&'a self, id: &'a ContainerId, lines: u32) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        async move { self.engine()?.end_of_output(&id.0, lines).await }.boxed()
    }

    fn take<'a>(
        &'a self,
        id: &'a ContainerId,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytestream>, Error>> {
        async move { self.engine()?.download(&id.0, path).await }.boxed()
    }

    fn give<'a>(
        &'a self,
        id: &'a ContainerId,
        tar: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let options = query::UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
            let docker = &self.engine()?.docker;
            let given = docker.upload_to_container(&id.0, Some(options), bollard::body_try_stream(tar)).await;
            given.map_err(|e| of_question("write files of the container", &e))
        }
        .boxed()
    }

    fn made_with<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<MadeWith, Error>> {
        async move { self.engine()?.made_with(&id.0).await }.boxed()
    }

    fn forget_volumes<'a>(
        &'a self,
        used: &'a (dyn Fn(RepoId) -> bool + Sync),
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.engine()?.remove_volumes(used).await }.boxed()
    }
}
