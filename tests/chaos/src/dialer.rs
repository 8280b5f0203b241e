//! Who is at the dialling end of a connection to a relay. All nodes dial one address of a node, so it is found by the process
//! that the other end belongs to (`/proc`).

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;

/// Which process is which node.
pub(crate) type Processes = Arc<HashMap<u32, usize>>;

/// Who dialled, found when it is first asked: to ask costs some thousands of lines and links to be read.
pub(crate) struct Dialer {
    /// The dialling end and the relay's.
    ends: (SocketAddr, SocketAddr),
    found: Mutex<Option<usize>>,
}

impl Dialer {
    pub(crate) fn new(from: SocketAddr, here: SocketAddr) -> Self {
        Self { ends: (from, here), found: Mutex::new(None) }
    }

    /// The node; none for a connection of a process that is gone, of one that is not known yet, or of none of the nodes.
    pub(crate) async fn number(&self, processes: &Processes) -> Option<usize> {
        let mut found = self.found.lock().await;
        if found.is_none() {
            let ((local, remote), processes) = (self.ends, Arc::clone(processes));
            let find = move || {
                let inode = inode(local, remote)?;
                processes.iter().find(|(process, _)| has(**process, inode)).map(|(_, number)| *number)
            };
            *found = tokio::task::spawn_blocking(find).await.unwrap_or(None);
        }
        *found
    }
}

/// The inode of the socket with these ends, local one first.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            Some(format!("{:08X}:{:04X}", u32::from_le_bytes(addr.ip().octets()), addr.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (hex(local)?, hex(remote)?);
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&&*local) && fields.get(2) == Some(&&*remote))
            .then(|| fields.get(9)?.parse().ok())?
    })
}

fn has(process: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*wanted))
}
