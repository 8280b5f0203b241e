//! Whose fault it is when the engine does not do what it was asked: the job's, this machine's, or only of this moment.
//!
//! The engine's status alone does not tell: one version says 400 where another says 500, and a registry that is down is a
//! 500, too. So its words decide where they are known, and what is not known is of this moment: asked again, and at last
//! somewhere else. Pure but for the library's error type.

use bollard::errors::Error as Bollard;

use super::super::Error;

/// What only the job's image or its resources can be the reason of.
const JOB: [&str; 9] = [
    "unable to find user",
    "unable to find group",
    "/workspace is not a directory",
    "at \"/workspace\": ",
    "executable file not found",
    "exec format error",
    "invalid argument",
    "init was OOM-killed",
    "memory limit too low",
];

/// What this machine lacks; another may have it.
const MACHINE: [&str; 8] = [
    "address pools",
    "no available IPv4 addresses",
    "non-overlapping IPv4 address pool",
    "no space left on device",
    "too many open files",
    "resource temporarily unavailable",
    // The first process of every container is the node's own.
    "exec: \"/troupe-init\"",
    "mount source path",
];

/// What an engine says that is about to stop, whatever it was doing.
const STOPPING: [&str; 3] = ["context canceled", "unexpected EOF", "transport is closing"];

/// The status of an answer; none when there was no answer.
pub(super) fn status(error: &Bollard) -> Option<u16> {
    match error {
        Bollard::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words.
pub(super) fn words(error: &Bollard) -> String {
    match error {
        Bollard::DockerResponseServerError { message, .. } => message.clone(),
        Bollard::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

fn any(known: &[&str], words: &str) -> bool {
    known.iter().any(|known| words.contains(known))
}

/// Of a question whose answer cannot be the job's fault.
pub(super) fn of_question(action: &'static str, error: &Bollard) -> Error {
    match status(error) {
        Some(code) => {
            Error::Unreachable(format!("it answers {code} when asked to {action}: {}", words(error)))
        }
        None => Error::Unreachable(format!("asked to {action}: {}", words(error))),
    }
}

/// Of making or starting a container.
pub(super) fn of_start(action: &'static str, error: &Bollard) -> Error {
    let (status, why) = (status(error), words(error));
    match status {
        None => of_question(action, error),
        Some(_) if any(&MACHINE, &why) => Error::Machine { action, why },
        // The image was here a moment ago.
        Some(404) if why.contains("No such image") => Error::Machine { action, why },
        Some(404 | 409) => of_question(action, error),
        Some(500..) if !any(&JOB, &why) => of_question(action, error),
        Some(_) => Error::Refused { action, why },
    }
}

/// Of a pull: what the registry said, unless it was the engine itself that could not.
pub(super) fn of_pull(image: &str, error: &Bollard) -> Error {
    let why = words(error);
    let said = matches!(error, Bollard::DockerResponseServerError { .. } | Bollard::DockerStreamError { .. });
    match said {
        true if any(&MACHINE, &why) => Error::Machine { action: "pull an image", why },
        true if !any(&STOPPING, &why) => Error::ImageMissing { image: image.to_owned(), why },
        _ => of_question("pull an image", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Bollard {
        Bollard::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn the_words_of_a_start_that_failed_say_whose_fault_it_is() {
        let oci = "failed to create shim task: OCI runtime create failed: runc create failed: ";
        let of = |status, words: &str| of_start("start", &answer(status, words));
        for (status, words) in [
            (500, "unable to find user ghost: no matching entries in passwd file"),
            (400, "unable to find user ghost: no matching entries in passwd file"),
            (500, "Cannot mkdir: /workspace is not a directory"),
            (400, "Minimum memory limit allowed is 6MB"),
            (400, "invalid reference format: repository name must be lowercase"),
            (500, &format!("{oci}container init was OOM-killed (memory limit too low?)")),
            (400, &format!("{oci}error mounting \"/a\" to rootfs at \"/workspace\": not a directory")),
        ] {
            assert!(matches!(of(status, words), Error::Refused { .. }), "{words}");
        }
        for (status, words) in [
            (404, "could not find an available, non-overlapping IPv4 address pool among the defaults"),
            (400, "all predefined address pools have been fully subnetted"),
            (500, "write /var/lib/docker/tmp: no space left on device"),
            (404, "No such image: x:1"),
            (400, &format!("{oci}exec: \"/troupe-init\": stat /troupe-init: no such file or directory")),
        ] {
            assert!(matches!(of(status, words), Error::Machine { .. }), "{words}");
        }
        for (status, words) in [
            (500, "dial unix:///run/containerd/containerd.sock: timeout"),
            (503, ""),
            (404, "network troupe-1-slot-0 not found"),
        ] {
            assert!(matches!(of(status, words), Error::Unreachable(_)), "{words}");
        }
        assert!(matches!(of_start("start", &Bollard::RequestTimeoutError), Error::Unreachable(_)));
    }

    #[test]
    fn a_pull_fails_by_its_registry_or_by_its_engine() {
        let of = |error| of_pull("x:1", &error);
        let stream = |error: &str| Bollard::DockerStreamError { error: error.to_owned() };
        let refused = answer(500, "Get \"http://127.0.0.1:9/v2/\": dial tcp: connect: connection refused");
        assert!(matches!(of(refused), Error::ImageMissing { .. }));
        assert!(matches!(of(stream("toomanyrequests: slow down")), Error::ImageMissing { .. }));
        assert!(matches!(of(stream("write /x: no space left on device")), Error::Machine { .. }));
        assert!(matches!(of(stream("context canceled")), Error::Unreachable(_)));
        let cut = Bollard::IOError { err: std::io::ErrorKind::UnexpectedEof.into() };
        assert!(matches!(of(cut), Error::Unreachable(_)));
    }
}
