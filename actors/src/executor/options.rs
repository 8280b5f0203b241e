//! The words that a workflow file has for `docker create` ("options"): read into what of them a container may be given.
//!
//! A list of what is allowed, not of what is not: an engine that learns a new word gives nobody a new way out. Pure; must not
//! know the engine.

use std::time::Duration;

use super::Error;

/// Longest text that is read, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// Shortest time that the engine takes for a health check.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a container is given beside its image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// How it is found to be well.
    pub health: Health,
    /// Its own name for itself.
    pub hostname: Option<String>,
    /// User, and group behind a colon.
    pub user: Option<String>,
    /// Where its process begins; an absolute path.
    pub workdir: Option<String>,
    /// One program, in place of the image's; empty for none at all.
    pub entrypoint: Option<String>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// Directories in memory, and how they are mounted.
    pub tmpfs: Vec<(String, String)>,
    /// Name, soft and hard limit; -1 is none.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Further names by which others of the job find it.
    pub aliases: Vec<String>,
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// Its labels; none of them is one of Troupe's.
    pub labels: Vec<(String, String)>,
    /// Nothing of it may be written but what is mounted.
    pub read_only: bool,
}

/// A health check, in place of the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// A command for the container's shell.
    pub command: Option<String>,
    /// There is none, whatever the image says.
    pub none: bool,
    /// Between two.
    pub interval: Option<Duration>,
    /// For one.
    pub timeout: Option<Duration>,
    /// In which failures do not count.
    pub start_period: Option<Duration>,
    /// Failures in a row that count.
    pub retries: Option<u32>,
}

/// Options that take a value, as they are said in errors.
const ALLOWED: &str = "--health-cmd, --health-interval, --health-timeout, --health-retries, --health-start-period, \
                       --no-healthcheck, --hostname, --user, --workdir, --entrypoint, --shm-size, --tmpfs, --ulimit, \
                       --memory, --cpus, --network-alias, --env, --label, --read-only";

/// What `--ulimit` may set: nothing by which a job is served before others of its machine (`nice`, `rtprio`, `rttime`), or keeps the
/// kernel's memory (`msgqueue`, `sigpending`).
const ULIMITS: [&str; 9] = ["as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "stack"];

/// Reads them.
///
/// # Errors
/// [`Error::Refused`], with the option and what is allowed.
pub fn parse(text: &str) -> Result<ContainerOptions, Error> {
    let mut options = ContainerOptions::default();
    let mut words = split(text)?.into_iter();
    while let Some(word) = words.next() {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (word.clone(), None),
        };
        let (name, given) = long(&name, given);
        if switch(&mut options, &name, given.as_deref())? {
            continue;
        }
        if !takes_value(&name) {
            return Err(not_allowed(&word));
        }
        let value = match given {
            Some(value) => value,
            None => words.next().ok_or_else(|| refused(format!("{name} has no value")))?,
        };
        set(&mut options, &name, value)?;
    }
    Ok(options)
}

/// The long form of what has a short one, whose value may stand right behind it.
fn long(name: &str, given: Option<String>) -> (String, Option<String>) {
    for (short, long) in [
        ("-h", "--hostname"),
        ("-u", "--user"),
        ("-w", "--workdir"),
        ("-m", "--memory"),
        ("-e", "--env"),
        ("-l", "--label"),
    ] {
        match name.strip_prefix(short) {
            Some("") => return (long.to_owned(), given),
            Some(value) if given.is_none() => return (long.to_owned(), Some(value.to_owned())),
            _ => {}
        }
    }
    (name.to_owned(), given)
}

/// Sets what is a flag; false when this is none.
fn switch(options: &mut ContainerOptions, name: &str, given: Option<&str>) -> Result<bool, Error> {
    let flag = match name {
        "--no-healthcheck" => &mut options.health.none,
        "--read-only" => &mut options.read_only,
        _ => return Ok(false),
    };
    *flag = match given {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => return Err(refused(format!("{name}={other:?} is neither true nor false"))),
    };
    Ok(true)
}

fn takes_value(name: &str) -> bool {
    // The flags among them are seen to before.
    ALLOWED.split(", ").any(|allowed| allowed == name)
}

fn set(options: &mut ContainerOptions, name: &str, value: String) -> Result<(), Error> {
    let bad = |why: &str| refused(format!("{name}={value:?} {why}"));
    let time = || duration(&value).ok_or_else(|| bad("is not a time such as 500ms, 10s or 1m30s"));
    let size = || bytes(&value).ok_or_else(|| bad("is not a size such as 64m or 2g"));
    match name {
        "--health-cmd" => options.health.command = Some(value),
        "--health-interval" => options.health.interval = Some(time()?),
        "--health-timeout" => options.health.timeout = Some(time()?),
        "--health-start-period" => options.health.start_period = Some(time()?),
        "--health-retries" => {
            options.health.retries = Some(value.parse().map_err(|_| bad("is not a number"))?);
        }
        "--hostname" => options.hostname = Some(host(&value).ok_or_else(|| bad("is not a host name"))?),
        "--network-alias" => options.aliases.push(host(&value).ok_or_else(|| bad("is not a host name"))?),
        "--user" => options.user = Some(value),
        "--workdir" if !value.starts_with('/') => return Err(bad("is not an absolute path")),
        "--workdir" => options.workdir = Some(value),
        "--entrypoint" => options.entrypoint = Some(value),
        "--shm-size" => options.shm_bytes = Some(size()?),
        "--memory" => options.memory = Some(size()?),
        "--cpus" => {
            options.cpu_millis = Some(cpus(&value).ok_or_else(|| bad("is not a number such as 0.5"))?)
        }
        "--tmpfs" => {
            let (path, how) = value.split_once(':').unwrap_or((&value, ""));
            if !path.starts_with('/') {
                return Err(bad("is not an absolute path"));
            }
            options.tmpfs.push((path.to_owned(), how.to_owned()));
        }
        "--ulimit" => {
            let limit = ulimit(&value).ok_or_else(|| bad("is not NAME=SOFT or NAME=SOFT:HARD"))?;
            if !ULIMITS.contains(&limit.0.as_str()) {
                return Err(bad(&format!("is not one of {}", ULIMITS.join(", "))));
            }
            options.ulimits.push(limit);
        }
        "--env" => {
            // Without a value Docker would take the caller's own, which here is the node's.
            let (name, value) = value.split_once('=').ok_or_else(|| bad("is not NAME=VALUE"))?;
            options.env.push((name.to_owned(), value.to_owned()));
        }
        _ => {
            let (label, text) = value.split_once('=').unwrap_or((&value, ""));
            if label.starts_with("troupe.") || label.is_empty() {
                return Err(bad("is not for a job to set: labels of troupe.* say whose a container is"));
            }
            options.labels.push((label.to_owned(), text.to_owned()));
        }
    }
    Ok(())
}

fn refused(why: String) -> Error {
    Error::Refused { action: "make a container as its options ask", why }
}

fn not_allowed(word: &str) -> Error {
    let named: String = word.chars().filter(|c| !c.is_control()).take(100).collect();
    refused(format!("the option {named:?} is not allowed; allowed are {ALLOWED}"))
}

/// Words as a shell splits them: quotes and backslashes, and nothing else that a shell does.
pub(crate) fn split(text: &str) -> Result<Vec<String>, Error> {
    if text.len() > MAX_BYTES {
        return Err(refused(format!("they have {} bytes, more than {MAX_BYTES}", text.len())));
    }
    if text.contains('\0') {
        return Err(refused("they contain a NUL".to_owned()));
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or_else(|| refused("they end in a backslash".to_owned()))?;
                let word = word.get_or_insert_default();
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    match quote {
        Some(quote) => Err(refused(format!("a {quote} in them is not closed"))),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

/// Go's notation: numbers with units, one after the other.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        let each = match &rest[number..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += rest[..number].parse::<f64>().ok()? * each;
        rest = &rest[unit..];
    }
    let found = Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())?;
    (found.is_zero() || found >= SHORTEST && found <= Duration::from_secs(24 * 3600)).then_some(found)
}

/// `64m`: a number, and a unit of 1024.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let trimmed = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, shift) = match trimmed.chars().last()? {
        'k' => (&trimmed[..trimmed.len() - 1], 10),
        'm' => (&trimmed[..trimmed.len() - 1], 20),
        'g' => (&trimmed[..trimmed.len() - 1], 30),
        't' => (&trimmed[..trimmed.len() - 1], 40),
        _ => (trimmed, 0),
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    let found = number * (1_u64 << shift) as f64;
    (found >= 1.0 && found < i64::MAX as f64).then_some(found as u64)
}

fn cpus(text: &str) -> Option<u32> {
    let millis = text.parse::<f64>().ok()? * 1000.0;
    (1.0..=1_000_000.0).contains(&millis).then_some(millis as u32)
}

fn ulimit(text: &str) -> Option<(String, i64, i64)> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| text.parse::<i64>().ok().filter(|limit| *limit >= -1);
    Some((name.to_owned(), number(soft)?, number(hard)?))
}

/// A name that can be looked up; underscores too, which services often have.
pub fn host(text: &str) -> Option<String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let first = text.bytes().next()?;
    (text.len() <= 63 && text.bytes().all(fine) && (first.is_ascii_alphanumeric() || first == b'_'))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() -> Result<(), Error> {
        let found = parse(
            "--health-cmd \"pg_isready -U 'a b'\" --health-interval 10s --health-timeout=5s\n  --health-retries 5 \
             --health-start-period 1m30s -e POSTGRES_PASSWORD=a=b --env X= --hostname db -u 999:999 \
             --shm-size 256mb --tmpfs /run:rw,size=64m --ulimit nofile=1024:2048 -m 512m --cpus 0.5 \
             --network-alias pg --label team=a --entrypoint '' -w /data --read-only",
        )?;
        let wanted = ContainerOptions {
            health: Health {
                command: Some("pg_isready -U 'a b'".to_owned()),
                none: false,
                interval: Some(Duration::from_secs(10)),
                timeout: Some(Duration::from_secs(5)),
                start_period: Some(Duration::from_secs(90)),
                retries: Some(5),
            },
            hostname: Some("db".to_owned()),
            user: Some("999:999".to_owned()),
            workdir: Some("/data".to_owned()),
            entrypoint: Some(String::new()),
            shm_bytes: Some(256 << 20),
            tmpfs: vec![("/run".to_owned(), "rw,size=64m".to_owned())],
            ulimits: vec![("nofile".to_owned(), 1024, 2048)],
            memory: Some(512 << 20),
            cpu_millis: Some(500),
            aliases: vec!["pg".to_owned()],
            env: vec![("POSTGRES_PASSWORD".to_owned(), "a=b".to_owned()), ("X".to_owned(), String::new())],
            labels: vec![("team".to_owned(), "a".to_owned())],
            read_only: true,
        };
        assert_eq!(found, wanted);
        assert_eq!(parse("  \n ")?, ContainerOptions::default());
        assert!(parse("--no-healthcheck")?.health.none);
        assert_eq!(parse("-eA=1 -uroot")?.user.as_deref(), Some("root"));
        Ok(())
    }

    /// Row 37: ways out of a container, in every way of writing them.
    #[test]
    fn what_is_not_on_the_list_is_refused_by_its_name() {
        for text in [
            "--privileged",
            "--privileged=true",
            "--pid host",
            "--pid=host",
            "--ipc=host",
            "--uts host",
            "--userns=host",
            "--network host",
            "--net=host",
            "--cgroupns=host",
            "--cgroup-parent=/",
            "-v /:/host",
            "-v/:/host",
            "--volume=/var/run/docker.sock:/var/run/docker.sock",
            "--mount type=bind,src=/,dst=/host",
            "--volumes-from other",
            "--device /dev/sda",
            "--device=/dev/kmsg",
            "--device-cgroup-rule='c *:* rwm'",
            "--gpus all",
            "--cap-add=SYS_ADMIN",
            "--security-opt seccomp=unconfined",
            "--sysctl kernel.shmmax=1",
            "--runtime=runsc",
            "--pids-limit -1",
            "--oom-kill-disable",
            "--restart=always",
            "--name job",
            "-p 80:80",
            "--publish=80",
            "-P",
            "--env-file /etc/shadow",
            "--label-file x",
            "--rm",
            "image",
            "--",
            "-it",
            "\"--privileged\"",
            "--health-cmd x --privileged",
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("is not allowed; allowed are --health-cmd,"), "{text}: {error}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_what_would() {
        for (text, words) in [
            ("--health-interval often", "is not a time"),
            ("--health-interval 10", "is not a time"),
            ("--health-timeout 1us", "is not a time"),
            ("--health-timeout -1s", "is not a time"),
            ("--health-retries many", "is not a number"),
            ("--memory lots", "is not a size"),
            ("--memory -5m", "is not a size"),
            ("--memory nan", "is not a size"),
            ("--cpus 0", "is not a number such as"),
            ("--cpus inf", "is not a number such as"),
            ("--hostname 'a b'", "is not a host name"),
            ("--network-alias -x", "is not a host name"),
            ("--workdir data", "is not an absolute path"),
            ("--tmpfs data", "is not an absolute path"),
            ("--ulimit nofile", "NAME=SOFT"),
            ("--ulimit NOFILE=1", "is not one of as, core"),
            ("--ulimit rtprio=99", "is not one of as, core"),
            ("--ulimit nice=40", "is not one of as, core"),
            ("--env HOME", "NAME=VALUE"),
            ("--label troupe.attempt=1", "not for a job to set"),
            ("--user", "has no value"),
            ("--read-only=maybe", "neither true nor false"),
            ("--health-cmd 'open", "is not closed"),
            ("--user a\\", "end in a backslash"),
            ("--user a\0b", "NUL"),
            (&"x".repeat(MAX_BYTES + 1), "more than 16384"),
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() -> Result<(), Error> {
        for (text, wanted) in [
            ("a 'b c' \"d e\"", &["a", "b c", "d e"][..]),
            ("a\\ b", &["a b"]),
            ("''", &[""]),
            ("--x=\"$HOME `id`\"", &["--x=$HOME `id`"]),
            (r#""a\"b\n" 'a\b'"#, &["a\"b\\n", "a\\b"]),
            ("a'b'c", &["abc"]),
        ] {
            assert_eq!(split(text)?, wanted, "{text}");
        }
        Ok(())
    }
}
