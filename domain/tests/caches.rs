//! Caches whose node is lost or removed: what nobody can have is in nobody's way.

use std::sync::Arc;

use domain::{
    Access, BootId, CacheEntry, Capacity, ClusterState, Command, Entry, Labels, NodeFacts, NodeId, Reply,
    RepoId, Resources, Sealed, Timestamp, invariants,
};

const REPO: RepoId = RepoId(1);

#[derive(Default)]
struct Cluster {
    state: ClusterState,
    index: u64,
}

impl Cluster {
    /// Two nodes and a repository.
    fn new() -> Self {
        let mut cluster = Self::default();
        cluster.done(register(1));
        cluster.done(register(2));
        cluster.apply(Command::PutRepo {
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
        let (reply, _) = self.state.apply(self.index, &Entry { at: Timestamp(self.index), command });
        assert_eq!(invariants::check_state(&self.state), Ok(()));
        reply
    }

    fn done(&mut self, command: Command) {
        assert_eq!(self.apply(command), Reply::Done);
    }

    /// Each cache: its key, its node, when it was made, whether it can be had.
    fn caches(&self) -> Vec<(&str, u64, u64, bool)> {
        let of = |entry| self.state.can_be_had(entry);
        let all = self.state.caches_of(REPO).map(|(_, entry)| entry);
        all.map(|entry| (entry.key.as_str(), entry.node.0, entry.created_at.0, of(entry))).collect()
    }
}

fn register(node: u64) -> Command {
    Command::RegisterNode(NodeFacts {
        node: NodeId(node),
        name: format!("n{node}").parse().expect("a good name"),
        boot: BootId(1),
        cluster_addr: "h:1".to_owned(),
        http_addr: String::new(),
        labels: Labels::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 1 },
        version: String::new(),
    })
}

fn keep(key: &str, node: u64) -> Command {
    let entry = CacheEntry {
        scope: "refs/heads/main".to_owned(),
        key: key.to_owned(),
        version: [1; 32],
        size: 1,
        digest: [node as u8; 32],
        node: NodeId(node),
        created_at: Timestamp(0),
        used_at: Timestamp(0),
    };
    Command::PutCache { repo: REPO, entry, most_bytes: 100 }
}

#[test]
fn a_cache_of_a_lost_node_gives_way_to_a_new_one_and_comes_back_with_its_node() {
    let mut cluster = Cluster::new();
    cluster.done(keep("a", 1));
    cluster.done(keep("b", 1));
    cluster.done(keep("a", 2));
    assert_eq!(cluster.caches(), [("a", 1, 4, true), ("b", 1, 5, true)], "one that can be had stays");
    cluster.done(Command::LoseNode { node: NodeId(1), boot: BootId(1) });
    assert_eq!(cluster.caches(), [("a", 1, 4, false), ("b", 1, 5, false)]);
    cluster.done(keep("a", 2));
    assert_eq!(cluster.caches(), [("a", 2, 8, true), ("b", 1, 5, false)]);
    cluster.done(register(1));
    cluster.done(keep("a", 1));
    assert_eq!(cluster.caches(), [("a", 2, 8, true), ("b", 1, 5, true)]);
}

#[test]
fn the_caches_of_a_removed_node_go_with_it_and_it_keeps_none_any_more() {
    let mut cluster = Cluster::new();
    cluster.done(keep("a", 1));
    cluster.done(keep("b", 2));
    cluster.done(Command::RemoveMember { node: NodeId(1), name: "n1".parse().expect("a good name") });
    assert_eq!(cluster.caches(), [("b", 2, 5, true)]);
    let Reply::Refused(refusal) = cluster.apply(keep("a", 1)) else { panic!("a removed node keeps a cache") };
    assert!(refusal.to_string().contains("removed from the cluster"), "{refusal}");
    cluster.done(keep("a", 2));
    assert_eq!(cluster.caches(), [("a", 2, 8, true), ("b", 2, 5, true)]);
}
