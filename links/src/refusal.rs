//! What is said over a connection on which no version of the protocol fits: the accepting side's range, and then its end.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::protocol::{decode, encode};
use crate::{Error, Versions};

/// More than two numbers need.
const MOST: u64 = 32;

/// Says it, and ends the connection.
pub(crate) async fn write(mut stream: TlsStream<TcpStream>, ours: Versions) -> io::Result<()> {
    stream.write_all(encode(ours).as_bytes()).await?;
    stream.shutdown().await
}

/// The error that says both ranges.
pub(crate) async fn read(
    addr: &str,
    stream: TlsStream<TcpStream>,
    protocol: &'static str,
    ours: Versions,
) -> Error {
    let mut line = String::new();
    let read = stream.take(MOST).read_to_string(&mut line).await;
    match (decode(&line), read) {
        (Some(theirs), _) => Error::NoCommonVersion { addr: addr.to_owned(), protocol, theirs, ours },
        (None, read) => {
            let none = io::Error::new(io::ErrorKind::InvalidData, "no version of the protocol was agreed on");
            Error::Handshake { addr: addr.to_owned(), source: read.err().unwrap_or(none) }
        }
    }
}
