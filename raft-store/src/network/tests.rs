//! A way that takes longer than a heartbeat's interval: links are opened over it all the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;
use crate::disk::LocalDisk;
use crate::members::{Book, Joined};
use crate::state_machine::StateMachine;

/// How long it takes until a link is there.
const WAY: Duration = Duration::from_millis(400);
/// What each call has.
const INTERVAL: Duration = Duration::from_millis(150);

/// The other end answers each request with one word.
#[derive(Debug, Default)]
struct LongWay {
    dials: AtomicUsize,
    far: Mutex<JoinSet<io::Result<()>>>,
}

async fn answer(mut far: tokio::io::DuplexStream) -> io::Result<()> {
    let _: Hello = wire::receive(&mut far).await?;
    wire::send(&mut far, &Welcome { refused: None }).await?;
    loop {
        let _: Request = wire::receive(&mut far).await?;
        wire::send(&mut far, &Response::Failed("heard".to_owned())).await?;
    }
}

impl Transport for LongWay {
    fn dial<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: Duration) -> BoxFuture<'a, io::Result<Channel>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            tokio::time::sleep(WAY).await;
            let (near, far) = tokio::io::duplex(1024);
            self.far.lock().unwrap_or_else(PoisonError::into_inner).spawn(answer(far));
            Ok(Channel { stream: Box::new(near), peer: "far".to_owned(), remote: "far away".to_owned() })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_is_opened_by_calls_that_are_each_given_up_before_it_is_there()
-> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let transport = Arc::new(LongWay::default());
    let caller = Caller {
        transport: Arc::clone(&transport) as Arc<dyn Transport>,
        disk: Arc::new(LocalDisk),
        from: 1,
        view: StateMachine::open(Arc::new(LocalDisk), dir.path())?.view(),
        book: Book::default(),
        joined: Joined::default(),
        connect_timeout: WAY * 2,
    };
    let address = NodeAddress { name: "far".to_owned(), cluster_addr: "far:1".to_owned() };
    let mut connection = Connection::new(caller, 2, address);
    let mut given_up = 0;
    let heard = loop {
        // As openraft's heartbeats are: nothing is left of a call that took too long.
        let call = connection.call(&Request::ReadIndex, INTERVAL);
        match tokio::time::timeout(INTERVAL, call).await {
            Err(_) => given_up += 1,
            Ok(answer) => break answer,
        }
        assert!(given_up < 10, "it begins anew each time");
    };
    assert!(matches!(&heard, Ok(Response::Failed(word)) if word == "heard"), "{heard:?}");
    assert_eq!((given_up, transport.dials.load(Ordering::Relaxed)), (2, 1));
    Ok(())
}
