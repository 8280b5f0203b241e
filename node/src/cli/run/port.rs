//! Serves one repository by git's own protocol, on this machine alone, to who knows its name: a random one.
//!
//! See git's gitprotocol-pack: a line with what is asked for, then what `git upload-pack` and its client say to each other.
//! Must not know what is in the repository.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the line in which it does.
const MAX_LINE: usize = 4096;

/// A repository that is served as long as this lives.
#[derive(Debug)]
pub struct Port {
    /// Where it is fetched from.
    pub url: String,
    _tasks: JoinSet<()>,
}

impl Port {
    /// Serves a bare repository.
    ///
    /// # Errors
    /// The system's, when no address of this machine can be listened on.
    pub async fn open(repository: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let path = format!("/{:032x}", rand::random::<u128>());
        let url = format!("git://{}{path}", listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, repository.to_owned(), path));
        Ok(Self { url, _tasks: tasks })
    }
}

async fn serve(listener: TcpListener, repository: PathBuf, path: String) {
    let mut answers = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(answers.spawn(answer(stream, repository.clone(), path.clone()))),
            // Out of descriptors, mostly: let connections end before the next try.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while answers.try_join_next().is_some() {}
    }
}

/// Whoever does not know the name is told nothing.
async fn answer(mut stream: TcpStream, repository: PathBuf, path: String) {
    let Ok(Ok(line)) = tokio::time::timeout(PATIENCE, first_line(&mut stream)).await else { return };
    let Some(version) = wanted(&line, &path) else { return };
    let upload = Command::new("git")
        .args(["-c", "core.hooksPath=/dev/null", "upload-pack", "--strict"])
        .arg(&repository)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROTOCOL", version)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut upload) = upload else { return };
    let (Some(mut stdin), Some(mut stdout)) = (upload.stdin.take(), upload.stdout.take()) else { return };
    let (mut said, mut heard) = stream.split();
    let asks = async {
        // A client that has gone ends what is asked: upload-pack sees the end of its input.
        drop(tokio::io::copy(&mut said, &mut stdin).await);
        drop(stdin);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = asks => {}
        answered = tokio::io::copy(&mut stdout, &mut heard) => drop(answered),
    }
}

/// The first line: four hexadecimal digits with its length, these included, and what it says.
async fn first_line(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut digits = [0; 4];
    stream.read_exact(&mut digits).await?;
    let length = std::str::from_utf8(&digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    let length = length.and_then(|length| length.checked_sub(4)).filter(|length| *length <= MAX_LINE);
    let mut line = vec![0; length.ok_or_else(bad)?];
    stream.read_exact(&mut line).await?;
    Ok(line)
}

/// The version that is asked for, where the line asks to fetch from this path: `git-upload-pack PATH`, NUL, `host=...`, NUL, and
/// perhaps NUL, `version=N`, NUL.
fn wanted(line: &[u8], path: &str) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let mut parts = text.split('\0');
    let asked = parts.next()?.trim_end_matches('\n').strip_prefix("git-upload-pack ")?;
    if !bool::from(asked.as_bytes().ct_eq(path.as_bytes())) {
        return None;
    }
    let known = |part: &&str| ["version=1", "version=2"].contains(part);
    Some(parts.find(known).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fetch_of_the_very_path_is_answered() {
        let asked = |line: &str| wanted(line.as_bytes(), "/abc");
        assert_eq!(
            asked("git-upload-pack /abc\0host=127.0.0.1:1\0\0version=2\0").as_deref(),
            Some("version=2")
        );
        assert_eq!(asked("git-upload-pack /abc\0host=x\0").as_deref(), Some(""));
        assert_eq!(asked("git-upload-pack /abc\0host=x\0\0version=9;x\0").as_deref(), Some(""));
        for bad in
            ["git-upload-pack /abd\0", "git-upload-pack /abc/..\0", "git-receive-pack /abc\0", "", "/abc"]
        {
            assert_eq!(asked(bad), None, "{bad:?}");
        }
    }
}
