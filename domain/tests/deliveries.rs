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
            over: None,
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
            reason: String::new(),
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
        let (payload, reason, triggers) = (String::new(), String::new(), None);
        let command = Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref,
            payload,
            runs,
            reason,
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

impl Cluster {
    /// Accepts a push of this body; whether it was known, and which it is.
    fn push(&mut self, id: u128, body: u8, (before, commit): (&str, &str)) -> (DeliveryId, bool) {
        let event = Event {
            git_ref: "refs/heads/main".to_owned(),
            before: before.to_owned(),
            commit: commit.to_owned(),
            ..Event::of(EventKind::Push)
        };
        let command = Command::AcceptDelivery {
            id: DeliveryId(id),
            repo: REPO,
            key: format!("bitbucket:{id}"),
            digest: [body; 32],
            event,
            only_path: String::new(),
        };
        match self.apply(command) {
            Reply::Delivery { id, duplicate } => (id, duplicate),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_branch_that_is_pushed_back_and_forth_is_built_each_time_and_what_is_sent_again_is_not() {
    let mut cluster = Cluster::new();
    let (there, back) = ((1, ("a", "b")), (2, ("b", "a")));
    let known = |id| (DeliveryId(id), true);
    assert_eq!(cluster.push(1, there.0, there.1), (DeliveryId(1), false));
    assert_eq!(cluster.push(2, there.0, there.1), known(1), "it ends where the branch is");
    assert_eq!(cluster.push(3, back.0, back.1), (DeliveryId(3), false));
    assert_eq!(cluster.push(4, back.0, back.1), known(3));
    assert_eq!(cluster.push(5, there.0, there.1), (DeliveryId(5), false), "it begins where the branch is");
    assert_eq!(cluster.push(6, there.0, there.1), known(5));
    assert_eq!(cluster.push(7, 3, ("b", "c")), (DeliveryId(7), false));
    assert_eq!(cluster.push(8, there.0, there.1), known(5), "the branch is elsewhere");
    assert_eq!(cluster.push(9, back.0, back.1), known(3), "and here, too");
    assert_eq!(cluster.push(1, 9, ("c", "d")), known(1), "one id of the forge is one delivery");
    // All of them go in a day, those whose bodies came again among them.
    for id in [1, 3, 5, 7] {
        cluster.expand(DeliveryId(id));
    }
    cluster.now += limits::KEY_WINDOW_MILLIS + 1;
    cluster.accept(100);
    cluster.accept(101);
    let left: Vec<_> = cluster.state.deliveries.iter().map(|(id, _)| id.0).collect();
    assert_eq!(left, [100, 101]);
}

#[test]
fn what_waits_goes_with_its_repository() {
    let mut cluster = Cluster::new();
    let (expanded, given, _waiting) = (cluster.accept(1), cluster.accept(2), cluster.accept(3));
    cluster.expand(expanded);
    cluster.done(Command::AssignExpansion { delivery: given, node: NODE });
    cluster.done(Command::RemoveRepo { id: REPO });
    let left: Vec<_> = cluster.state.deliveries.iter().map(|(id, _)| *id).collect();
    assert_eq!((left, cluster.state.pending_deliveries.len()), (vec![expanded], 0));
}

#[test]
fn what_keeps_something_of_a_repository_is_refused_when_that_was_changed_meanwhile() {
    let mut cluster = Cluster::new();
    let put = |over, url: &str| Command::PutRepo {
        id: RepoId(2),
        name: "o/r".parse().expect("a good name"),
        clone_url: url.to_owned(),
        webhook_secret: Sealed(Arc::from(&b"another secret"[..])),
        labels: Labels::default(),
        access: Access::default(),
        approve_forks: false,
        over,
    };
    let version = |cluster: &Cluster| cluster.state.repos.get(&REPO).map(|repo| repo.version);
    let read = version(&cluster);
    cluster.done(put(read, "https://h/first"));
    let refused = cluster.apply(put(read, "https://h/second"));
    assert!(matches!(&refused, Reply::Refused(why) if why.to_string().contains("not any more what it was")));
    assert_eq!(cluster.state.repos.get(&REPO).map(|repo| &*repo.clone_url), Some("https://h/first"));
    cluster.done(put(version(&cluster), "https://h/second"));
    cluster.done(put(None, "https://h/third"));
}

#[test]
fn one_key_is_one_request_of_whoever_asks() {
    let mut cluster = Cluster::new();
    let ask = |id: u128, key: &str, body: u8| Command::AcceptDelivery {
        id: DeliveryId(id),
        repo: REPO,
        key: key.to_owned(),
        digest: [body; 32],
        event: Event::of(EventKind::WorkflowDispatch),
        only_path: "ci.yml".to_owned(),
    };
    let same = |id| Reply::Delivery { id: DeliveryId(id), duplicate: true };
    cluster.done(ask(1, "api:t:k", 1));
    assert_eq!(cluster.apply(ask(2, "api:t:k", 1)), same(1));
    let conflict = cluster.apply(ask(3, "api:t:k", 2));
    assert!(matches!(conflict, Reply::Refused(Refusal::KeyConflict { .. })), "{conflict:?}");
    cluster.done(ask(4, "api:t:other", 3));
}
