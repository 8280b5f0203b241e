//! Steps that are a container of their own (`uses: docker://IMAGE`): beside the job's, with its workspace, its network and its
//! limits; the job's own container waits meanwhile.
//!
//! The workspace is where the job has it, and at `/github/workspace`, too, where GitHub has it for such steps.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use init::wire::{FILES, MAX_FILE};
use rustix::fs::OFlags;

use super::{DockerDone, Inputs, NativeContext};
use crate::attempt::Parts;
use crate::executor::{BesideSpec, ContainerId, Extras, Mount, Part, options};
use crate::logs::Stream;
use crate::runner::environment::WORKSPACE;
use crate::tree;

/// Where GitHub has the workspace for such steps.
const GITHUB_WORKSPACE: &str = "/github/workspace";
/// Where GitHub has the files by which a step tells something.
const COMMANDS: &str = "/github/file_commands";

/// Runs it. An error is in words.
pub(super) async fn run(ctx: &NativeContext, image: &str, with: &Inputs) -> Result<DockerDone, String> {
    let parts = &ctx.parts;
    let beside = parts
        .executor
        .beside()
        .ok_or("the jobs of this node are plain processes, so it has no containers for steps")?;
    let image = image.strip_prefix("docker://").unwrap_or(image);
    let (entrypoint, command) = command(with)?;
    let files = ctx.directories.staging.join(format!("files-{}", ctx.order));
    let number = u16::try_from(ctx.order).map_err(|_| "the job has too many steps".to_owned())?;
    let part = Part::Step(number);
    if find(parts, ctx, &part).await?.is_some() {
        ctx.lines.say("The node was started again. From its beginning, as far as the engine kept it, the step wrote:").await;
    } else {
        let made = files.clone();
        let made = tokio::task::spawn_blocking(move || make_files(&made)).await;
        made.map_err(|join| join.to_string())?.map_err(|e| format!("cannot make files for the step: {e}"))?;
    }
    let mut mounts = vec![Mount::writable(files.clone(), COMMANDS)];
    let workspace = |place| Mount::writable(ctx.directories.workspace.clone(), place);
    mounts.extend([WORKSPACE, GITHUB_WORKSPACE].map(workspace));
    mounts.extend(ctx.directories.given());
    beside.ensure_image_as(image, None).await.map_err(|e| e.to_string())?;
    let spec = BesideSpec {
        attempt: ctx.attempt,
        fence: ctx.fence,
        part,
        image: image.to_owned(),
        permit: ctx.directories.permit.clone(),
        mounts,
        workdir: Some(WORKSPACE.to_owned()),
        env: environment(&ctx.env, with),
        entrypoint,
        command,
        resources: ctx.resources,
        pids: parts.options.pids,
        slot: ctx.slot,
        extras: Extras::default(),
        lease: ctx.lease.clone(),
    };
    // From here on it may be there, whatever becomes of this step.
    let mut stop = Stop { ctx, part: Some(spec.part.clone()) };
    let (id, mut output) = beside.start_beside(spec, true).await.map_err(|e| e.to_string())?;
    while let Some(bytes) = output.next().await {
        match bytes {
            Ok(bytes) => ctx.lines.output(Stream::Stdout, bytes.to_vec()).await,
            Err(error) => {
                ctx.lines.warn(&format!("not all of its output was heard: {error}")).await;
                break;
            }
        }
    }
    let exit = parts.executor.wait(&id).await.map_err(|e| e.to_string())?;
    if exit.oom_killed {
        ctx.lines
            .say(&format!(
                "a process was ended for want of memory; the step has {} MiB",
                ctx.resources.memory_mib
            ))
            .await;
    }
    // Whoever notes how it went removes it: until then a later life of the node must find it, or the step would run again.
    stop.part = None;
    let read = tokio::task::spawn_blocking(move || read_files(&files)).await;
    let (files, bad_files) = read.map_err(|join| join.to_string())??;
    Ok(DockerDone { exit_code: i32::try_from(exit.code).unwrap_or(i32::MAX), files, bad_files })
}

/// The container of the step, when an earlier life of this node began it.
async fn find(parts: &Parts, ctx: &NativeContext, part: &Part) -> Result<Option<ContainerId>, String> {
    let all = parts.executor.list().await.map_err(|e| e.to_string())?;
    let whose = (ctx.attempt, ctx.fence);
    Ok(all.into_iter().find(|f| (f.attempt, f.fence) == whose && f.part == *part).map(|found| found.id))
}

/// What runs, as the step says it.
type Command = (Option<Vec<String>>, Option<Vec<String>>);

fn command(with: &Inputs) -> Result<Command, String> {
    let given = |name: &str| {
        let found = with.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let entrypoint = given("entrypoint").map(|program| vec![program.to_owned()]);
    let args = given("args").map(options::split).transpose().map_err(|e| format!("args: {e}"))?;
    Ok((entrypoint, args))
}

/// The step's own, with its inputs as actions have them, and with where things are in its container.
fn environment(of_step: &[(String, String)], with: &Inputs) -> Vec<(String, String)> {
    let mut env = Vec::new();
    // Of two with one name the later one holds; programs differ in which of them they would take.
    for (at, (name, value)) in of_step.iter().enumerate() {
        if of_step[at + 1..].iter().all(|(later, _)| later != name) {
            env.push((name.clone(), value.clone()));
        }
    }
    let name = |input: &str| format!("INPUT_{}", input.to_uppercase().replace(' ', "_"));
    env.extend(with.iter().map(|(input, value)| (name(input), value.clone())));
    env.extend(FILES.map(|(file, variable)| (variable.to_owned(), format!("{COMMANDS}/{file}"))));
    env
}

/// Empty, and open to whatever user the image runs as. Blocking.
fn make_files(directory: &Path) -> io::Result<()> {
    tree::remove_tree(directory)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    for (file, _) in FILES {
        let path = directory.join(file);
        File::create(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    }
    Ok(())
}

/// What the step wrote, and a bit for each file that could not be read or has too much; nothing is read through a link that it may have
/// put there. Blocking.
fn read_files(directory: &Path) -> Result<([Vec<u8>; 5], u8), String> {
    let root = tree::open_root(directory).map_err(|e| format!("cannot open the files of the step: {e}"))?;
    let (mut all, mut bad) = (<[Vec<u8>; 5]>::default(), 0);
    for (at, ((file, _), bytes)) in FILES.into_iter().zip(&mut all).enumerate() {
        match read_file(root.as_fd(), file) {
            Some(found) => *bytes = found,
            None => bad |= 1 << at,
        }
    }
    Ok((all, bad))
}

/// One that the step has removed says nothing.
fn read_file(root: BorrowedFd<'_>, file: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = match tree::open_beneath(root, Path::new(file), flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Vec::new()),
        opened => File::from(opened.ok()?),
    };
    let mut bytes = Vec::new();
    if !opened.metadata().ok()?.is_file() {
        return None;
    }
    opened.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_FILE).then_some(bytes)
}

/// Ends the container of a step that was given up: it is asked to, then it is removed. What comes next in the workspace waits.
struct Stop<'a> {
    ctx: &'a NativeContext,
    /// None when it is gone.
    part: Option<Part>,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        let Some(part) = self.part.take() else { return };
        let (parts, whose) = (Arc::clone(&self.ctx.parts), (self.ctx.attempt, self.ctx.fence));
        let tracker = self.ctx.writing.task_tracker().clone();
        tracker.spawn(async move {
            let all = parts.executor.list().await.unwrap_or_default();
            let same =
                all.into_iter().find(|found| (found.attempt, found.fence) == whose && found.part == part);
            if let Some(found) = same {
                end(&parts, &found.id).await;
            }
        });
    }
}

/// Whatever cannot be done here is done at the end of the attempt.
async fn end(parts: &Parts, id: &ContainerId) {
    for done in [parts.executor.stop(id, parts.options.grace).await, parts.executor.remove(id).await] {
        if let Err(error) = done {
            tracing::warn!(?id, %error, "the container of a step cannot be ended yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(all: &[(&str, &str)]) -> Inputs {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_runs_is_as_the_step_says_it() -> Result<(), String> {
        let words = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let found = command(&with(&[("args", "-c \"echo 'a b'\" x"), ("Entrypoint", "/bin/sh")]))?;
        assert_eq!(found, (words(&["/bin/sh"]), words(&["-c", "echo 'a b'", "x"])));
        assert_eq!(command(&with(&[("args", " ")]))?, (None, None));
        assert!(command(&with(&[("args", "'open")])).is_err_and(|e| e.starts_with("args: ")));
        let of_step =
            [("A", "0"), ("B", "2"), ("A", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = environment(&of_step, &with(&[("my input", "x")]));
        assert_eq!(env.iter().filter(|(name, _)| name == "A").count(), 1);
        let has = |name: &str, value: &str| env.contains(&(name.to_owned(), value.to_owned()));
        assert!(
            has("A", "1") && has("INPUT_MY_INPUT", "x") && has("GITHUB_ENV", "/github/file_commands/env")
        );
        Ok(())
    }

    #[test]
    fn files_are_read_through_no_link_and_not_without_end() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let files = dir.path().join("files");
        make_files(&files)?;
        fs::write(files.join("output"), "a=b")?;
        fs::remove_file(files.join("state"))?;
        let (read, bad) = read_files(&files)?;
        assert_eq!((read[0].as_slice(), bad), (&b"a=b"[..], 0));
        fs::write(dir.path().join("secret"), "x")?;
        std::os::unix::fs::symlink(dir.path().join("secret"), files.join("state"))?;
        fs::write(files.join("summary"), vec![b'x'; MAX_FILE + 1])?;
        let (read, bad) = read_files(&files)?;
        let bad = FILES.iter().enumerate().filter(|(at, _)| bad & (1 << at) != 0).map(|(_, (_, name))| *name);
        assert_eq!(bad.collect::<Vec<_>>(), ["GITHUB_STEP_SUMMARY", "GITHUB_STATE"]);
        assert!(read[1..].iter().all(Vec::is_empty), "nothing of them is taken");
        make_files(&files)?;
        assert_eq!(read_files(&files)?, (<[Vec<u8>; 5]>::default(), 0));
        Ok(())
    }
}
