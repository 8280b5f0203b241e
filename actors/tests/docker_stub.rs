//! The Docker executor with an engine that misbehaves: a stand-in on a socket of its own, which says what the tests want.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::executor::{
    ContainerId, ContainerSpec, DockerExecutor, DockerOptions, Error, Executor, Extras, Lease,
};
use domain::{AttemptId, Fence, JobId, NodeId, Resources, RunId};
use futures::{FutureExt, StreamExt, stream};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(30);
const IMAGE: &str = "here:1";

/// How the engine answers one request.
#[derive(Clone)]
enum Say {
    /// A status and a JSON text.
    This(u16, &'static str),
    /// The beginning of a stream, then nothing more.
    Stall(&'static str),
    /// The beginning of a stream, then the connection breaks.
    Cut(&'static str),
    /// Nothing at all.
    Nothing,
}

/// What is asked, by method and the end of the path, to what is answered; 404 for the rest.
type Script = Arc<Mutex<Vec<(Method, &'static str, Say)>>>;

struct Stub {
    script: Script,
    asked: watch::Sender<Vec<String>>,
    executor: Arc<DockerExecutor>,
    _dir: tempfile::TempDir,
    _server: JoinSet<()>,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn body(say: Say) -> (u16, Body) {
    let (code, text, then) = match say {
        Say::This(code, text) => (code, text, stream::empty().boxed()),
        Say::Stall(text) => (200, text, stream::pending().boxed()),
        Say::Cut(text) => {
            let error = std::io::Error::other("the engine stops");
            (200, text, stream::once(async { Err(error) }).boxed())
        }
        Say::Nothing => (200, "", stream::pending().boxed()),
    };
    let frames = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]).chain(then);
    (code, UnsyncBoxBody::new(StreamBody::new(frames)))
}

async fn answer(
    request: Request<Incoming>,
    script: Script,
    asked: watch::Sender<Vec<String>>,
) -> std::result::Result<Response<Body>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let image = request.uri().query().unwrap_or_default().to_owned();
    let found = script.lock().ok().and_then(|script| {
        let fits = |(wanted, end, _): &&(Method, &str, Say)| {
            *wanted == method && (path.ends_with(end) || format!("{path}?{image}").contains(end))
        };
        script.iter().find(fits).map(|(_, _, say)| say.clone())
    });
    asked.send_modify(|asked| asked.push(format!("{method} {path}?{image}")));
    let say = found.unwrap_or(Say::This(404, r#"{"message":"not found"}"#));
    if matches!(say, Say::Nothing) {
        std::future::pending::<()>().await;
    }
    let (code, body) = body(say);
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}

impl Stub {
    fn new(pull_stall: Duration) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket)?;
        let (script, asked) = (Script::default(), watch::channel(Vec::new()).0);
        let (of_server, heard) = (Arc::clone(&script), asked.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (script, asked) = (Arc::clone(&of_server), heard.clone());
                let service = service_fn(move |request| answer(request, Arc::clone(&script), asked.clone()));
                connections.spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service);
                    // It ends with an error where the connection is to break.
                    drop(served.await);
                });
            }
        });
        let options = DockerOptions { socket: Some(socket), pull_stall, ..DockerOptions::default() };
        let executor = DockerExecutor::connect_with(NodeId(1), "/nowhere/init".into(), options)?;
        Ok(Self { script, asked, executor: Arc::new(executor), _dir: dir, _server: server })
    }

    /// Before what was said earlier.
    fn says(&self, method: Method, end: &'static str, say: Say) {
        if let Ok(mut script) = self.script.lock() {
            script.insert(0, (method, end, say));
        }
    }

    async fn asked(&self, what: &str, times: usize) -> Result {
        let mut asked = self.asked.subscribe();
        let so_often = |asked: &Vec<String>| asked.iter().filter(|a| a.contains(what)).count() >= times;
        drop(tokio::time::timeout(PATIENCE, asked.wait_for(so_often)).await??);
        Ok(())
    }

    fn count(&self, what: &str) -> usize {
        self.asked.borrow().iter().filter(|asked| asked.contains(what)).count()
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        attempt: AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 },
        fence: Fence(7),
        node: NodeId(1),
        image: IMAGE.to_owned(),
        control_dir: PathBuf::from("/nowhere/control"),
        workspace: PathBuf::from("/nowhere/workspace"),
        mounts: Vec::new(),
        env: BTreeMap::new(),
        resources: Resources { cpu_millis: 500, memory_mib: 64 },
        pids: 64,
        slot: 0,
        extras: Extras::default(),
        lease: lease(),
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_registry_that_says_nothing_keeps_only_those_waiting_who_want_its_image() -> Result {
    let stub = Stub::new(LONG)?;
    stub.says(Method::POST, "fromImage=tarpit", Say::Nothing);
    stub.says(Method::GET, "/images/here:1/json", Say::This(200, "{}"));
    stub.says(Method::POST, "fromImage=other", Say::Stall("{\"status\":\"Pulling\"}\n"));
    let mut waiting = JoinSet::new();
    for image in ["tarpit:1", "tarpit:1", "other:1"] {
        let executor = Arc::clone(&stub.executor);
        waiting.spawn(async move { executor.ensure_image(image).await });
    }
    stub.asked("fromImage=tarpit", 1).await?;
    stub.asked("fromImage=other", 1).await?;
    // Looked for by both, and again by the one whose turn it is.
    stub.asked("/images/tarpit:1/json", 3).await?;
    tokio::time::timeout(PATIENCE, stub.executor.ensure_image(IMAGE)).await??;
    assert_eq!(stub.count("fromImage=tarpit"), 1, "one image, one pull");
    assert!(waiting.try_join_next().is_none());
    Ok(())
}

#[tokio::test]
async fn a_pull_of_which_nothing_is_heard_is_given_up_with_a_reason() -> Result {
    let stub = Stub::new(Duration::from_millis(200))?;
    stub.says(Method::POST, "fromImage=tarpit", Say::Nothing);
    stub.says(Method::POST, "fromImage=slow", Say::Stall("{\"status\":\"Pulling\"}\n"));
    for image in ["tarpit:1", "slow:1"] {
        let had = tokio::time::timeout(PATIENCE, stub.executor.ensure_image(image)).await?;
        let error = had.err().ok_or("it was had")?;
        assert!(matches!(&error, Error::ImageMissing { .. }), "{error:?}");
        assert!(error.to_string().contains("nothing of it has come for 200ms"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pull_fails_by_what_its_registry_says_and_not_by_an_engine_that_stops() -> Result {
    let stub = Stub::new(LONG)?;
    stub.says(Method::POST, "fromImage=cut", Say::Cut("{\"status\":\"Pulling\"}\n"));
    stub.says(Method::POST, "fromImage=half", Say::Cut("{\"status\":\"Pul"));
    stub.says(
        Method::POST,
        "fromImage=stops",
        Say::This(200, r#"{"errorDetail":{"message":"context canceled"},"error":"context canceled"}"#),
    );
    stub.says(Method::POST, "fromImage=short", Say::This(200, "{\"status\":\"Pulling\"}\n"));
    for image in ["cut:1", "half:1", "stops:1", "short:1"] {
        let error = stub.executor.ensure_image(image).await.err().ok_or("it was had")?;
        assert!(matches!(&error, Error::Unreachable(_)), "{image}: {error:?}");
    }
    stub.says(
        Method::POST,
        "fromImage=full",
        Say::This(
            200,
            r#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#,
        ),
    );
    let error = stub.executor.ensure_image("full:1").await.err().ok_or("it was had")?;
    assert!(matches!(&error, Error::Machine { .. }), "{error:?}");
    stub.says(Method::POST, "fromImage=absent", Say::This(500, r#"{"message":"manifest unknown"}"#));
    stub.says(
        Method::POST,
        "fromImage=limited",
        Say::This(200, r#"{"errorDetail":{"message":"toomanyrequests"},"error":"toomanyrequests"}"#),
    );
    for image in ["absent:1", "limited:1"] {
        let error = stub.executor.ensure_image(image).await.err().ok_or("it was had")?;
        assert!(matches!(&error, Error::ImageMissing { .. }), "{image}: {error:?}");
    }
    stub.says(Method::GET, "/images/here:1/json", Say::This(500, r#"{"message":"database locked"}"#));
    let error = stub.executor.ensure_image(IMAGE).await.err().ok_or("it was had")?;
    assert!(matches!(&error, Error::Unreachable(_)), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn an_engine_in_trouble_is_asked_again_and_never_the_jobs_fault() -> Result {
    let stub = Stub::new(LONG)?;
    let (executor, id) = (&stub.executor, ContainerId("c1".to_owned()));
    let broken = Say::This(500, r#"{"message":"containerd: connection error"}"#);
    for (method, end) in [
        (Method::POST, "/wait"),
        (Method::GET, "/containers/json"),
        (Method::POST, "/stop"),
        (Method::DELETE, "/c1"),
    ] {
        stub.says(method, end, broken.clone());
    }
    let waited = executor.wait(&id).map(|waited| waited.map(drop)).await;
    let all = [
        waited,
        executor.list().await.map(drop),
        executor.stop(&id, Duration::ZERO).await,
        executor.remove(&id).await,
    ];
    for done in all {
        assert!(matches!(&done, Err(Error::Unreachable(why)) if why.contains("containerd")), "{done:?}");
    }
    // Its end is known, but not yet how it ended.
    stub.says(Method::POST, "/wait", Say::This(200, "{\"StatusCode\":0}\n"));
    stub.says(Method::GET, "/c1/json", broken.clone());
    let waited = executor.wait(&id).await;
    assert!(matches!(&waited, Err(Error::Unreachable(_))), "{waited:?}");
    stub.says(Method::POST, "/wait", Say::Cut(""));
    let waited = executor.wait(&id).await;
    assert!(matches!(&waited, Err(Error::Unreachable(_))), "{waited:?}");
    stub.says(Method::POST, "/wait", Say::This(404, r#"{"message":"No such container"}"#));
    let waited = executor.wait(&id).await;
    assert!(matches!(&waited, Err(Error::Gone(_))), "{waited:?}");
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_is_the_jobs_the_machines_or_the_moments_fault() -> Result {
    let stub = Stub::new(LONG)?;
    let start = || stub.executor.start(spec());
    let broken = Say::This(500, r#"{"message":"containerd: connection error"}"#);
    stub.says(Method::POST, "/networks/create", broken.clone());
    let error = start().await.err().ok_or("it started")?;
    assert!(matches!(&error, Error::Unreachable(_)), "{error:?}");
    let full = r#"{"message":"could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"}"#;
    stub.says(Method::POST, "/networks/create", Say::This(404, full));
    let error = start().await.err().ok_or("it started")?;
    assert!(matches!(&error, Error::Machine { action: "create the network", .. }), "{error:?}");
    stub.says(Method::GET, "-slot-0", broken.clone());
    let error = start().await.err().ok_or("it started")?;
    assert!(matches!(&error, Error::Unreachable(_)), "{error:?}");
    stub.says(Method::GET, "-slot-0", Say::This(200, "{}"));
    for (said, jobs) in [
        (broken.clone(), false),
        (Say::This(400, r#"{"message":"Minimum memory limit allowed is 6MB"}"#), true),
    ] {
        stub.says(Method::POST, "/containers/create", said);
        let error = start().await.err().ok_or("it started")?;
        assert_eq!(matches!(&error, Error::Refused { .. }), jobs, "{error:?}");
        assert_eq!(matches!(&error, Error::Unreachable(_)), !jobs, "{error:?}");
    }
    stub.says(Method::POST, "/containers/create", Say::This(201, r#"{"Id":"c1","Warnings":[]}"#));
    let ghost = r#"{"message":"unable to find user ghost: no matching entries in passwd file"}"#;
    for (said, jobs) in [(broken, false), (Say::This(500, ghost), true)] {
        stub.says(Method::POST, "/containers/c1/start", said);
        let error = start().await.err().ok_or("it started")?;
        assert_eq!(matches!(&error, Error::Refused { .. }), jobs, "{error:?}");
        assert_eq!(matches!(&error, Error::Unreachable(_)), !jobs, "{error:?}");
    }
    // The network was removed by someone: the container goes, so that the next try makes both anew.
    stub.says(Method::DELETE, "/containers/c1", Say::This(204, ""));
    stub.says(Method::POST, "/containers/c1/start", Say::This(404, r#"{"message":"network x not found"}"#));
    let error = start().await.err().ok_or("it started")?;
    assert!(matches!(&error, Error::Unreachable(_)), "{error:?}");
    assert_eq!(stub.count("DELETE"), 1);
    Ok(())
}

/// To start within the next hour.
fn lease() -> Lease {
    let until = Instant::now() + Duration::from_secs(3600);
    Lease { until: watch::channel(Some(until)).1, kill: CancellationToken::new() }
}
