//! From workflow files to what their jobs know of each other, in a state that changes by commands.

use std::sync::Arc;

use domain::{
    Access, AttemptId, AttemptReport, BootId, Capacity, Command, DeliveryId, Entry, Event, EventKind, Fence,
    NodeFacts, NodeId, Placement, Progress, Reply, Resources, RunId, Sealed, Timestamp,
};
use workflow::Occasion;
use workflow::model::Files;

use super::*;
use crate::mint::Mint;

const NODE: NodeId = NodeId(1);
const REPO: RepoId = RepoId(1);

struct Called(&'static str);

impl Files for Called {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        (uses == "./w/called.yml").then(|| self.0.as_bytes().to_vec())
    }
}

struct Cluster {
    state: ClusterState,
    index: u64,
    run: RunId,
}

impl Cluster {
    fn done(&mut self, command: Command) {
        self.index += 1;
        // Later commands are later.
        let entry = Entry { at: Timestamp(1_000_000 + self.index), command };
        let (reply, _) = self.state.apply(self.index, &entry);
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }

    /// A push that makes a run of one file and the one that it calls.
    fn of(caller: &str, called: &'static str) -> Self {
        let mut cluster = Self { state: ClusterState::default(), index: 0, run: RunId(0) };
        cluster.done(Command::RegisterNode(NodeFacts {
            node: NODE,
            name: "n".parse().expect("a good name"),
            boot: BootId(1),
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: ["x".to_owned()].into_iter().collect(),
            capacity: Capacity { resources: Resources { cpu_millis: 9000, memory_mib: 9000 }, slots: 99 },
            version: String::new(),
        }));
        cluster.done(Command::PutRepo {
            id: REPO,
            name: "o/r".parse().expect("a good name"),
            clone_url: "https://example.com/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Default::default(),
            access: Access::default(),
            approve_forks: false,
            over: None,
        });
        let (repo, name, value) = (REPO, "V".to_owned(), "of the repository".to_owned());
        cluster.done(Command::PutVariable { repo, name, value });
        let git_ref = "refs/heads/main".to_owned();
        let event = Event { git_ref: git_ref.clone(), ..Event::of(EventKind::Push) };
        let (facts, changed) = (Facts::default(), || None);
        let files = Called(called);
        let occasion =
            Occasion { event: &event, only_path: "", facts: &facts, files: &files, changed: &changed };
        let file = ("ci.yml".to_owned(), caller.as_bytes().to_vec());
        let runs = workflow::expand(&[file], &occasion, &mut Mint);
        assert_eq!(runs[0].error, None);
        cluster.run = runs[0].id;
        let (delivery, key, only_path) = (DeliveryId(1), "k".to_owned(), String::new());
        cluster.done(Command::AcceptDelivery { id: delivery, repo, key, digest: [1; 32], event, only_path });
        cluster.done(Command::AssignExpansion { delivery, node: NODE });
        cluster.done(Command::ExpandDelivery {
            delivery,
            fence: Fence(cluster.index),
            commit: "c".repeat(40),
            git_ref,
            payload: String::new(),
            runs,
            reason: String::new(),
            triggers: None,
            numbers_from: None,
        });
        cluster
    }

    fn job(&self, key: &str) -> JobId {
        let found = self.state.jobs_of(self.run).find(|(_, job)| &*job.key == key);
        found.map(|(id, _)| id).unwrap_or_else(|| panic!("no job {key}"))
    }

    fn finish(&mut self, key: &str, outcome: Outcome, told: &[(&str, &str)]) {
        let job = self.job(key);
        self.done(Command::Place { placements: vec![Placement { job, number: 1, node: NODE }] });
        let fence = self.state.jobs.get(&job).expect("it is there").fence;
        let mut what = Progress::finished(outcome, "");
        if let Progress::Finished { outputs, .. } = &mut what {
            *outputs = told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        }
        let attempt = AttemptId { job, number: 1 };
        self.done(Command::Report(AttemptReport { attempt, fence, node: NODE, what }));
    }

    /// What a job sees at a place in `needs`.
    fn seen(&self, key: &str, path: &[&str]) -> String {
        workflow::contexts::of(&context(&self.state, self.job(key)), path)
    }
}

const CALLED: &str = "on:\n  workflow_call:\n    inputs: {who: {type: string, default: nobody}}\n    outputs:\n      said: {value: '${{ jobs.say.outputs.it }}'}\n      all: {value: '${{ inputs.who }} ${{ github.ref }} ${{ vars.V }}'}\njobs:\n  say: {runs-on: x, outputs: {it: y}, steps: [{run: x}]}\n";

#[test]
fn what_a_called_workflow_tells_is_computed_from_its_own_inputs_and_the_run() {
    let caller = "on: push\njobs:\n  c: {uses: ./w/called.yml, with: {who: ada}}\n  after: {needs: c, runs-on: x, steps: [{run: x}]}\n";
    let mut cluster = Cluster::of(caller, CALLED);
    cluster.finish("c/say", Outcome::Succeeded, &[("it", "yes")]);
    assert_eq!(cluster.seen("after", &["c", "result"]), "success");
    assert_eq!(cluster.seen("after", &["c", "outputs", "said"]), "yes");
    let all = cluster.seen("after", &["c", "outputs", "all"]);
    assert_eq!(all, "ada refs/heads/main of the repository");
}

#[test]
fn a_matrix_of_called_workflows_tells_what_the_last_that_succeeded_said() {
    let caller = "on: push\njobs:\n  c:\n    strategy: {fail-fast: false, matrix: {n: [1, 2, 3, 4]}}\n    uses: ./w/called.yml\n  after: {needs: c, if: always(), runs-on: x, steps: [{run: x}]}\n";
    let mut cluster = Cluster::of(caller, CALLED);
    cluster.finish("c (2)/say", Outcome::Succeeded, &[("it", "two")]);
    cluster.finish("c (1)/say", Outcome::Succeeded, &[("it", "one")]);
    cluster.finish("c (4)/say", Outcome::Succeeded, &[]);
    cluster.finish("c (3)/say", Outcome::Failed, &[("it", "three")]);
    assert_eq!(cluster.seen("after", &["c", "result"]), "failure");
    assert_eq!(cluster.seen("after", &["c", "outputs", "said"]), "one");
}
