//! What becomes of deliveries that no workflow wanted.

use domain::{
    Access, BootId, Capacity, ClusterState, Command, DeliveryId, Entry, Event, EventKind, Fence, Labels,
    NewRun, NodeFacts, NodeId, Refusal, Reply, RepoId, Resources, RunId, Sealed, Timestamp, invariants,
    limits,
};
use std::sync::Arc;

const NODE: NodeId = NodeId(1);
const REPO: RepoId = RepoId(1);

struct Cluster {
    state: ClusterState,
    index: u64,
    now: u64,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self { state: ClusterState::default(), index: 0, now: 1 };
        cluster.done(Command::RegisterNode(NodeFacts {
            node: NODE,
            name: "one".parse().expect("a good name"),
            boot: BootId(1),
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Labels::default(),
            capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 1 },
            version: String::new(),
        }));
        cluster.done(Command::PutRepo {
            id: REPO,
            name: "o/r".parse().expect("a good name"),
            clone_url: "https://example.com/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Labels::default(),
            access: Access::default(),
            approve_forks: false,
        });
        cluster
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let entry = Entry { at: Timestamp(self.now), command };
        let (reply, _) = self.state.apply(self.index, &entry);
        assert_eq!(invariants::check_state(&self.state), Ok(()));
        reply
    }

    fn done(&mut self, command: Command) {
        let reply = self.apply(command);
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }

    fn accept(&mut self, number: u8) -> DeliveryId {
        let event = Event {
            kind: EventKind::Push,
            git_ref: "refs/heads/main".to_owned(),
            commit: String::new(),
            before: String::new(),
            sender: String::new(),
            title: String::new(),
            ..Event::of(EventKind::Push)
        };
        let (id, key) = (DeliveryId(u128::from(number)), format!("github:{number}"));
        self.done(Command::AcceptDelivery {
            id,
            repo: REPO,
            key,
            digest: [number; 32],
            event,
            only_path: String::new(),
        });
        id
    }

    /// Expands it into no runs.
    fn expand(&mut self, delivery: DeliveryId) {
        self.done(Command::AssignExpansion { delivery, node: NODE });
        let fence = Fence(self.index);
        self.done(Command::ExpandDelivery {
            delivery,
            fence,
            commit: "c".to_owned(),
            git_ref: "refs/heads/main".to_owned(),
            payload: String::new(),
            runs: Vec::new(),
            triggers: None,
            numbers_from: None,
        });
    }
}

#[test]
fn a_delivery_without_runs_is_forgotten_with_its_keys() {
    let mut cluster = Cluster::new();
    let (wanted_by_none, pending) = (cluster.accept(1), cluster.accept(2));
    cluster.expand(wanted_by_none);
    assert!(cluster.state.deliveries.contains(&wanted_by_none), "someone may look at it for a day");
    cluster.now += limits::KEY_WINDOW_MILLIS + 1;
    let last = cluster.accept(3);
    assert!(!cluster.state.deliveries.contains(&wanted_by_none));
    // One whose git server was down all the time is still to be expanded, and goes as soon as nobody wants it.
    assert!(cluster.state.deliveries.contains(&pending));
    cluster.expand(pending);
    let left: Vec<_> = cluster.state.deliveries.iter().map(|(id, _)| *id).collect();
    assert_eq!(left, [last]);
}

#[test]
fn runs_that_were_made_with_their_numbers_get_those_or_are_not_made() {
    let mut cluster = Cluster::new();
    let made = |cluster: &mut Cluster, delivery, fence, run: u128, numbers_from| {
        let runs = vec![NewRun::failed(RunId(run), "ci.yml".to_owned(), "x".to_owned())];
        let (commit, git_ref) = ("c".to_owned(), "refs/heads/main".to_owned());
        let (payload, triggers) = (String::new(), None);
        let command = Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref,
            payload,
            runs,
            triggers,
            numbers_from,
        };
        cluster.apply(command)
    };
    let (first, second) = (cluster.accept(1), cluster.accept(2));
    cluster.done(Command::AssignExpansion { delivery: first, node: NODE });
    let of_first = Fence(cluster.index);
    cluster.done(Command::AssignExpansion { delivery: second, node: NODE });
    let of_second = Fence(cluster.index);
    assert_eq!(made(&mut cluster, first, of_first, 1, Some(1)), Reply::Done);
    // Both were made at the same time: the second is made anew with what is next by now.
    let taken = Reply::Refused(Refusal::NumbersTaken { given: 1, present: 2 });
    assert_eq!(made(&mut cluster, second, of_second, 2, Some(1)), taken);
    assert_eq!(made(&mut cluster, second, of_second, 2, Some(2)), Reply::Done);
    let numbers: Vec<_> = cluster.state.runs.iter().map(|(_, run)| run.number).collect();
    assert_eq!(numbers, [1, 2]);
}
