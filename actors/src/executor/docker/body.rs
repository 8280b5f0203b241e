//! Containers in the engine's words. Everything that a workflow file can ask for passes here, and nothing else is said to the
//! engine of it: no privileges, no namespaces or devices of the host, no directory of the host but the node's own.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, NetworkingConfig,
    ResourcesUlimits,
};
use domain::{AttemptId, Fence, NodeId, RepoId, Resources};

use super::super::beside::Volume;
use super::super::options::{ContainerOptions, Health};
use super::super::{BesideSpec, ContainerSpec, Error, Extras, Mount, Part};
use super::{ATTEMPT, FENCE, NODE, PART, SLOT};

const CAPABILITIES: [&str; 5] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID"];
const INIT: &str = "/troupe-init";

/// The container of a job.
pub(super) fn of_job(
    spec: ContainerSpec,
    init: &Path,
    network: String,
) -> Result<ContainerCreateBody, Error> {
    for (given, option) in [
        (spec.extras.options.entrypoint.is_some(), "--entrypoint"),
        (spec.extras.options.workdir.is_some(), "--workdir"),
    ] {
        if given {
            let why =
                format!("{option} is for services; a job's steps say by themselves what runs, and where");
            return Err(Error::Refused { action: "make a container as its options ask", why });
        }
    }
    let mut binds = vec![
        bind(&spec.control_dir, "/troupe", "rw")?,
        bind(init, INIT, "ro")?,
        bind(&spec.workspace, "/workspace", "rw")?,
    ];
    binds.extend(mounts(&spec.mounts)?);
    let mut body = ContainerCreateBody {
        image: Some(spec.image),
        entrypoint: Some(vec![INIT.into()]),
        cmd: Some(vec!["run".into()]),
        working_dir: Some("/workspace".into()),
        env: Some(variables(spec.env.iter(), &spec.extras.options)),
        labels: Some(labels(spec.node, (spec.attempt, spec.fence, spec.slot), &Part::Job)),
        host_config: Some(host(binds, spec.resources, spec.pids, &network)),
        ..Default::default()
    };
    extend(&mut body, &spec.extras, spec.resources, spec.node)?;
    name(&mut body, network, spec.extras.options.aliases);
    Ok(body)
}

/// One beside it, which runs `argv` under its guard.
pub(super) fn beside(
    spec: BesideSpec,
    node: NodeId,
    init: &Path,
    network: String,
    argv: Vec<String>,
) -> Result<ContainerCreateBody, Error> {
    let mut binds = vec![bind(&spec.permit, "/troupe/permit", "ro")?, bind(init, INIT, "ro")?];
    binds.extend(mounts(&spec.mounts)?);
    let guarded = ["guard", "/troupe"].map(String::from).into_iter().chain(argv).collect();
    let mut body = ContainerCreateBody {
        image: Some(spec.image),
        entrypoint: Some(vec![INIT.into()]),
        cmd: Some(guarded),
        env: Some(variables(spec.env.iter().map(|(name, value)| (name, value)), &spec.extras.options)),
        labels: Some(labels(node, (spec.attempt, spec.fence, spec.slot), &spec.part)),
        // What the guard hands on.
        stop_signal: Some("SIGTERM".into()),
        host_config: Some(host(binds, spec.resources, spec.pids, &network)),
        ..Default::default()
    };
    extend(&mut body, &spec.extras, spec.resources, node)?;
    if spec.workdir.is_some() {
        body.working_dir = spec.workdir;
    }
    let mut aliases = spec.extras.options.aliases;
    if let Part::Service(service) = spec.part {
        aliases.insert(0, service);
    }
    name(&mut body, network, aliases);
    Ok(body)
}

fn variables<'a>(
    env: impl Iterator<Item = (&'a String, &'a String)>,
    options: &'a ContainerOptions,
) -> Vec<String> {
    let of_options = options.env.iter().map(|(name, value)| (name, value));
    of_options.chain(env).map(|(name, value)| format!("{name}={value}")).collect()
}

fn labels(
    node: NodeId,
    (attempt, fence, slot): (AttemptId, Fence, u16),
    part: &Part,
) -> HashMap<String, String> {
    let labels = [
        (NODE, node.to_string()),
        (ATTEMPT, attempt.to_string()),
        (FENCE, fence.to_string()),
        (SLOT, slot.to_string()),
        (PART, part.to_string()),
    ];
    labels.map(|(k, v)| (k.to_owned(), v)).into()
}

fn host(binds: Vec<String>, resources: Resources, pids: u32, network: &str) -> HostConfig {
    let memory = i64::from(resources.memory_mib) * 1024 * 1024;
    let log = [("max-size", "1m"), ("max-file", "1"), ("compress", "false")];
    let log = HashMap::from(log.map(|(k, v)| (k.to_owned(), v.to_owned())));
    HostConfig {
        binds: Some(binds),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(CAPABILITIES.map(String::from).to_vec()),
        security_opt: Some(vec!["no-new-privileges".into()]),
        pids_limit: Some(i64::from(pids)),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(resources.cpu_millis) * 1_000_000),
        ipc_mode: Some("private".into()),
        init: Some(true),
        log_config: Some(HostConfigLogConfig { typ: Some("local".into()), config: Some(log) }),
        network_mode: Some(network.to_owned()),
        ..Default::default()
    }
}

/// Adds what a workflow file asks for: never more memory or processor than there is for it.
fn extend(
    body: &mut ContainerCreateBody,
    Extras { options, volumes }: &Extras,
    most: Resources,
    node: NodeId,
) -> Result<(), Error> {
    body.hostname.clone_from(&options.hostname);
    body.user.clone_from(&options.user);
    if options.workdir.is_some() {
        body.working_dir.clone_from(&options.workdir);
    }
    body.healthcheck = health(&options.health);
    let labels = body.labels.get_or_insert_default();
    for (label, text) in &options.labels {
        labels.entry(label.clone()).or_insert_with(|| text.clone());
    }
    let host = body.host_config.get_or_insert_default();
    host.shm_size = options.shm_bytes.map(whole);
    host.readonly_rootfs = options.read_only.then_some(true);
    host.tmpfs = (!options.tmpfs.is_empty()).then(|| options.tmpfs.iter().cloned().collect());
    let limit = |(name, soft, hard): &(String, i64, i64)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    host.ulimits = (!options.ulimits.is_empty()).then(|| options.ulimits.iter().map(limit).collect());
    let too_much = |option: &str, most: String| Error::Refused {
        action: "make a container as its options ask",
        why: format!("{option} is more than what there is for it: {most}"),
    };
    if let Some(memory) = options.memory {
        let memory = whole(memory);
        if most.memory_mib > 0 && memory > i64::from(most.memory_mib) << 20 {
            return Err(too_much("--memory", format!("{} MiB", most.memory_mib)));
        }
        (host.memory, host.memory_swap) = (Some(memory), Some(memory));
    }
    if let Some(millis) = options.cpu_millis {
        if most.cpu_millis > 0 && millis > most.cpu_millis {
            return Err(too_much("--cpus", format!("{} thousandths of a processor", most.cpu_millis)));
        }
        host.nano_cpus = Some(i64::from(millis) * 1_000_000);
    }
    let binds = host.binds.get_or_insert_default();
    for Volume { name, path, read_only } in volumes {
        match name {
            Some((repo, name)) => {
                let mode = if *read_only { "ro" } else { "rw" };
                binds.push(format!("{}:{path}:{mode}", volume(node, *repo, name)));
            }
            None => body.volumes.get_or_insert_default().push(path.clone()),
        }
    }
    Ok(())
}

/// By which it is found in its network.
fn name(body: &mut ContainerCreateBody, network: String, aliases: Vec<String>) {
    if !aliases.is_empty() {
        let endpoint = EndpointSettings { aliases: Some(aliases), ..Default::default() };
        let endpoints_config = Some(HashMap::from([(network, endpoint)]));
        body.networking_config = Some(NetworkingConfig { endpoints_config });
    }
}

/// The engine's name for a repository's volume: no other repository's job can say it.
pub(super) fn volume(node: NodeId, repo: RepoId, name: &str) -> String {
    format!("troupe-{node}-{repo}-{name}")
}

fn health(health: &Health) -> Option<HealthConfig> {
    if *health == Health::default() {
        return None;
    }
    let nanos = |time: Option<Duration>| time.map(|t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX));
    let test = match (&health.command, health.none) {
        (_, true) => Some(vec!["NONE".to_owned()]),
        (Some(command), false) => Some(vec!["CMD-SHELL".to_owned(), command.clone()]),
        (None, false) => None,
    };
    Some(HealthConfig {
        test,
        interval: nanos(health.interval),
        timeout: nanos(health.timeout),
        start_period: nanos(health.start_period),
        retries: health.retries.map(i64::from),
        start_interval: None,
    })
}

fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn mounts(all: &[Mount]) -> Result<Vec<String>, Error> {
    let mode = |mount: &Mount| if mount.read_only { "ro" } else { "rw" };
    all.iter().map(|mount| bind(&mount.from, &mount.to, mode(mount))).collect()
}

/// A bind in the engine's notation, in which a colon separates: a path that holds one cannot be said.
fn bind(from: &Path, to: &str, mode: &str) -> Result<String, Error> {
    match from.to_str() {
        Some(path) if path.starts_with('/') && !path.contains(':') => Ok(format!("{path}:{to}:{mode}")),
        _ => {
            let why = format!("the path {} must be absolute, UTF-8 and without a colon", from.display());
            Err(Error::Refused { action: "bind a directory", why })
        }
    }
}
