//! How many files this process may open: each HTTP connection is one, and so are logs, links and whatever jobs need.
//!
//! Must not know what they are used for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config;

/// What is kept free of HTTP connections: the log, links to other nodes, git, what follows containers.
const OTHERS: u64 = 1024;

/// Raises the limit as far as the system allows, and where that is not enough lowers the cap of HTTP connections to what leaves
/// room for all else: strangers who connect must not be able to take files from the log.
pub fn leave_room(http: &mut config::Http) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    let room = connections(allowed);
    if room < http.max_connections {
        let (files, wanted) = (allowed.unwrap_or(u64::MAX), http.max_connections);
        tracing::warn!(
            files,
            wanted,
            room,
            "this process may not open enough files for http.max_connections; it takes as many as there is room for \
             (raise the hard limit of open files, as LimitNOFILE of systemd does)"
        );
        http.max_connections = room;
    }
}

/// HTTP connections for which there is room; half of the files where there are very few.
fn connections(files: Option<u64>) -> usize {
    let room = |files: u64| files.saturating_sub(OTHERS).max(files / 2);
    files.map_or(usize::MAX, |files| usize::try_from(room(files)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_for_what_is_no_connection() {
        let room = [None, Some(1 << 20), Some(9216), Some(1024), Some(256)].map(connections);
        assert_eq!(room, [usize::MAX, (1 << 20) - 1024, 8192, 512, 128]);
    }
}
