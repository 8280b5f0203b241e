//! TCP keepalive on every link: a machine that vanished without a word (power, a dropped NAT entry) is noticed on a link
//! that nobody writes to, and its place on the port is free again.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence before the first probe.
const IDLE: Duration = Duration::from_secs(15);
/// Between two probes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Probes without an answer that end the connection: after 35 s in all. Raft and the gateway notice sooner, with pings of
/// their own; this is for links that nobody uses at the time.
const PROBES: u32 = 4;

/// Sets up a link's connection: no delay of small frames, and keepalive.
pub(crate) fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}
