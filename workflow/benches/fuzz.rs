//! Files, expressions, patterns and JSON that nobody would write, made of those that somebody did: none may panic, and
//! none may take long.
//!
//! `cargo bench -p workflow --bench fuzz -- [EXECUTIONS [SEED]]`, 100,000 and 1 unless it is said otherwise. Changed are
//! the texts of this file and, where they are, those of the corpora (`TROUPE_CORPORA`, or beside the repository). The same
//! numbers make the same executions. With `cargo test` for `cargo bench` it is slower, and sums are checked, too.

use std::cell::RefCell;
use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::{Event, EventKind, JobSpec, Outcome, RunId, Undecided};
use workflow::contexts::Facts;
use workflow::events::{Happened, starts};
use workflow::expression::{Expression, Function, NoEnvironment, Object, Options, Scope, Value, evaluate};
use workflow::graph::{self, Before};
use workflow::model::{Files, Permissions, check_calls};
use workflow::steps::{Answer, Course, Given, Next, Over, Written};
use workflow::{
    Asked, Filter, Mint, NoFiles, Occasion, Spec, check_artifacts, decide, expand, lint, read, variants,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Longest time that one execution may take; also when other processes want the machine.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Jobs of one file that take their course.
const MAX_LATER: usize = 4;
/// Longest text that is made.
const MAX_BYTES: usize = 64 * 1024;

const WORKFLOWS: [&str; 4] = [
    "name: CI\non:\n  push:\n    branches: [main, 'releases/**', '!releases/old']\n    paths-ignore: ['**.md']\n  schedule:\n    - cron: '0 */12 * * 1-5'\n  workflow_dispatch:\n    inputs: {a: {type: choice, options: [x, y], default: x}}\nenv: {A: 1, B: '${{ github.sha }}'}\ndefaults: {run: {shell: bash}}\nconcurrency: {group: 'g-${{ github.ref }}', cancel-in-progress: true}\njobs:\n  build: &job\n    name: B ${{ matrix.os }}\n    runs-on: ${{ matrix.os }}\n    strategy:\n      fail-fast: false\n      matrix:\n        os: [linux, 'mac']\n        n: [1, 2.5, 0x10, null, {a: [b]}]\n        include: [{os: linux, extra: true}]\n        exclude: [{n: 1}]\n    steps:\n      - uses: actions/checkout@v4\n        with: {fetch-depth: 0}\n      - id: x\n        run: |\n          echo ${{ format('{0}', github.ref) }}\n        if: always() && github.ref == 'x'\n  test:\n    needs: [build]\n    runs-on: [linux, big]\n    container: {image: debian, env: {A: b}}\n    services: {db: {image: postgres, ports: [80]}}\n    x-troupe: {artifacts: [dist/**], priority: 3, resources: {cpus: 0.5, memory: 2Gi}}\n    steps: [{run: 'true', timeout-minutes: 5, continue-on-error: true}]\n  again: *job\n",
    "on: push\njobs:\n  a:\n    runs-on: x\n    if: failure()\n    env: {${{ insert }}: '${{ fromJSON(vars.x) }}', C: !!str 1}\n    steps:\n      - run: >-\n          x\n        env: {A: ''}\n",
    "on: {workflow_call: {inputs: {a: {type: string, required: true}}, secrets: {s: {required: true}}, outputs: {o: {value: '${{ jobs.a.outputs.o }}'}}}}\npermissions: {contents: read}\njobs:\n  a:\n    uses: ./called\n    with: {a: '${{ inputs.a }}'}\n    secrets: inherit\n    permissions: write-all\n",
    "on: [push, pull_request]\njobs: {a: {runs-on: {group: org/x, labels: [a]}, environment: {name: x, url: '${{ steps.a.outputs.u }}'}, steps: [{parallel: [{run: a}]}, {wait-all: }]}}\n",
];
const EXPRESSIONS: [&str; 8] = [
    "github.event.commits.*.author['name'] == 'x' || !contains(github.ref, 'main') && 1 < 2",
    "format('{0}-{1}{{}}', toJSON(github), join(github.event.labels.*.name, ', '))",
    "case(github.a == null, fromJSON('{\"a\": [1, -2.5e3, \"\\u00e9\"]}').a[0], true, 'it''s', NaN)",
    "startsWith(github.ref, 'refs/') && endsWith(github.ref, 'N') || 0xff >= -Infinity",
    "always() || (success() && failure()) || cancelled() || hashFiles('**/x') != ''",
    "github[github.key][*].*.x[0][1]['y'] != .5",
    "toJSON(fromJSON(toJSON(github.event)))",
    "((((1 == 1) != true) <= 'a') > null)",
];
const PATTERNS: [&str; 6] =
    ["releases/**-alpha", "!v[12].[0-9]+", "**/docs/*.jsx?", "*\\*x", "a+b?c[a-z]", "**"];
const JSON: [&str; 3] = [
    "{\"a\": [1, 2.5e-3, true, null, \"x\\n\\u00e9\\ud83d\\ude00\"], \"b\": {}}",
    "[[[[]]]]",
    "\"\\\\\\\"/\"",
];
/// What is put into texts.
const WORDS: [&str; 62] = [
    "${{",
    "}}",
    "${{ insert }}",
    "'",
    "''",
    "\"",
    "*",
    "**",
    "&a ",
    "*a",
    "*job",
    "!!int ",
    "!!bool ",
    "! ",
    "\n",
    "\n  ",
    "  ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "|",
    ">",
    "#",
    "---\n",
    "...\n",
    "? ",
    "%YAML 1.2\n",
    "\t",
    "\0",
    "\r\n",
    "\u{feff}",
    "é",
    "😀",
    "\u{a0}",
    "ı",
    "(",
    ")",
    ",",
    ".",
    "==",
    "&&",
    "||",
    "!",
    "1e308",
    "-0",
    "0x",
    "0o7",
    "1e",
    "NaN",
    "null",
    "matrix",
    "include",
    "exclude",
    "fromJSON(",
    "format('{0}{0}{0}', ",
    "needs",
    "uses",
    "[a-z]",
    "\\",
];

/// Numbers that look random, the same for the same seed (SplitMix64, by Steele, Lea and Flood).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// Two places in a text, the first not after the second.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let (a, b) = (self.roll(length + 1), self.roll(length + 1));
        (a.min(b), a.max(b))
    }

    /// A text that was changed in one to eight places; bytes, as it may be no text any more.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut text = self.pick(seeds).clone();
        for _ in 0..=self.roll(8) {
            self.change(&mut text, seeds);
            text.truncate(MAX_BYTES);
        }
        text
    }

    fn change(&mut self, text: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.roll(text.len() + 1);
        let (from, to) = self.range(text.len());
        let short = to.min(from + 1 + self.roll(40));
        match self.roll(12) {
            0..=3 => {
                let word = self.pick(&WORDS).as_bytes();
                text.splice(at..at, word.iter().copied());
            }
            4 if at < text.len() => text[at] ^= 1 << self.roll(8),
            5 => drop(text.drain(from..short)),
            6 => drop(text.drain(from..to)),
            7 => {
                let copy = text[from..short].to_vec();
                text.splice(at..at, copy);
            }
            // Rows and nests: a piece, again and again.
            8 => {
                let times = 1 << self.roll(10);
                let copy = text[from..to.min(from + 1 + self.roll(6))].repeat(times);
                text.splice(at..at, copy);
            }
            9 => {
                let other = self.pick(seeds);
                let (from, to) = self.range(other.len());
                text.splice(at..at, other[from..to].iter().copied());
            }
            10 => {
                let line = |text: &[u8], at: usize| {
                    let begins = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                    let ends = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |end| at + end);
                    begins..ends
                };
                let moved: Vec<u8> = text.drain(line(text, at)).collect();
                let to = line(text, self.roll(text.len() + 1)).start;
                text.splice(to..to, moved);
            }
            _ => text.truncate(at),
        }
    }
}

struct Seeds {
    workflows: Vec<Vec<u8>>,
    expressions: Vec<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
    json: Vec<Vec<u8>>,
}

impl Seeds {
    fn gather() -> Result<Self> {
        let own = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut seeds = Self {
            workflows: own(&WORKFLOWS),
            expressions: own(&EXPRESSIONS),
            patterns: own(&PATTERNS),
            json: own(&JSON),
        };
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
        let corpora = std::env::var_os("TROUPE_CORPORA").map_or(beside, PathBuf::from);
        for folder in ["actions-workflow-reader", "workflow-schema-valid", "actions-expressions"] {
            let Ok(files) = fs::read_dir(corpora.join(folder)) else { continue };
            let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
            paths.sort();
            for path in paths {
                seeds.add(&fs::read_to_string(&path)?);
            }
        }
        Ok(seeds)
    }

    /// The workflows between lines of `---`, or the expressions of JSON.
    fn add(&mut self, text: &str) {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Object(groups)) => {
                let cases = groups.values().filter_map(serde_json::Value::as_array).flatten();
                let texts = cases.filter_map(|case| Some(case["expr"].as_str()?.as_bytes().to_vec()));
                self.expressions.extend(texts);
            }
            _ => self.workflows.extend(text.split("\n---\n").map(|part| part.as_bytes().to_vec())),
        }
    }
}

/// What every execution has around it.
struct World {
    contexts: Object,
    event: Event,
}

struct Called<'a>(&'a [u8]);

impl Files for Called<'_> {
    fn file(&self, _: &str) -> Option<Vec<u8>> {
        Some(self.0.to_vec())
    }
}

/// What was to be stored, to go on with.
#[derive(Default)]
struct Kept {
    jobs: RefCell<Vec<JobSpec>>,
    undecided: RefCell<Vec<Undecided>>,
}

impl Mint for Kept {
    fn run_id(&mut self) -> RunId {
        RunId(1)
    }

    fn encode(&self, spec: Spec<'_>) -> std::result::Result<Vec<u8>, String> {
        match spec {
            Spec::Job(spec) => self.jobs.borrow_mut().push(spec.clone()),
            Spec::Undecided(spec) => self.undecided.borrow_mut().push(spec.clone()),
            Spec::Group(_) => {}
        }
        Ok(format!("{spec:?}").into_bytes())
    }
}

const SCOPE: Scope = Scope {
    contexts: &["github"],
    functions: &[
        Function::new("always", 0, 0),
        Function::new("success", 0, usize::MAX),
        Function::new("failure", 0, usize::MAX),
        Function::new("cancelled", 0, 0),
        Function::new("hashFiles", 1, 255),
    ],
};

impl World {
    fn new() -> Self {
        let person = |name: &str| Value::object([("author", Value::object([("name", Value::text(name))]))]);
        let event = Value::object([
            ("commits", Value::array(vec![person("x"), person("é😀"), Value::Null])),
            ("labels", Value::array(vec![Value::object([("name", Value::text("bug"))])])),
        ]);
        let mut contexts = Object::default();
        let github = Value::object([
            ("ref", Value::text("refs/heads/main")),
            ("key", Value::text("event")),
            ("number", Value::Number(f64::NAN)),
            ("event", event),
        ]);
        contexts.insert("github", github);
        let text = String::new;
        let event = Event {
            kind: EventKind::Push,
            git_ref: "refs/heads/main".to_owned(),
            commit: text(),
            before: text(),
            sender: text(),
            title: text(),
            ..Event::of(EventKind::Push)
        };
        Self { contexts, event }
    }

    fn workflow(&self, bytes: &[u8]) {
        let (workflow, found) = read(bytes);
        let linted = lint(bytes, &NoFiles);
        assert!(found.is_empty() || linted.is_err(), "what GitHub refuses can be run");
        assert!(workflow.is_some() || !found.is_empty(), "refused without a reason");
        assert!(found.iter().all(|one| one.line > 0 && one.column > 0), "a complaint without a place");
        let files = [("ci.yml".to_owned(), bytes.to_vec())];
        let (facts, changed) = (Facts::default(), || None);
        let occasion =
            Occasion { event: &self.event, only_path: "", facts: &facts, files: &NoFiles, changed: &changed };
        let mut kept = Kept::default();
        let runs = expand(&files, &occasion, &mut kept);
        assert!(linted.is_ok() || runs.iter().all(|run| run.error.is_some()), "what is refused is run");
        let Some(workflow) = workflow else { return };
        let ids: Vec<_> = workflow.jobs.iter().map(|job| job.id.value.as_str()).collect();
        self.later(&kept, &ids, bytes);
        drop(check_calls(&workflow, &Called(bytes), &Permissions::limited()));
        let changed = ["src/a.rs".to_owned()];
        let happened = Happened {
            event: "push",
            git_ref: "refs/heads/main",
            changed: Some(&changed),
            ..Happened::default()
        };
        workflow.on.iter().for_each(|trigger| drop(starts(trigger, &happened)));
        if found.is_empty() {
            workflow.jobs.iter().for_each(|job| drop(variants(job, &self.contexts)));
        }
    }

    /// What comes after expansion: undecided jobs are decided, and jobs take their course.
    fn later(&self, kept: &Kept, ids: &[&str], bytes: &[u8]) {
        let jobs = ids.iter().map(|id| (*id, graph::Outcome::Success)).collect();
        let before = Before { jobs, cancelled: false };
        let needs =
            Value::object(ids.iter().map(|id| (*id, Value::object([("result", Value::text("success"))]))));
        let (made, facts) = (Kept::default(), Facts::default());
        for undecided in kept.undecided.borrow().iter().take(MAX_LATER) {
            for key in ids.iter().take(MAX_LATER) {
                let (event, before, needs) = (&self.event, &before, &needs);
                let asked = Asked { undecided, key, contexts: "", event, facts: &facts, before, needs };
                drop(decide(&asked, &made));
            }
        }
        let all = [kept.jobs.borrow(), made.jobs.borrow()];
        for spec in all.iter().flat_map(|specs| specs.iter().take(MAX_LATER)) {
            self.course(spec, bytes);
        }
    }

    /// A job whose steps write what the file is, and of which every fifth fails.
    fn course(&self, spec: &JobSpec, bytes: &[u8]) {
        let mut course = Course::new(Given {
            spec: Arc::new(spec.clone()),
            path: "ci.yml".to_owned(),
            workspace: "/w".to_owned(),
            contexts: self.contexts.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            facts: Vec::new(),
            secrets: vec!["true".to_owned()],
        });
        drop(course.container(&spec.container));
        loop {
            match course.next(&NoEnvironment) {
                Next::Done(_) => break,
                Next::Wait => panic!("nothing was ordered, and it waits"),
                Next::Order(order) => {
                    course.started(order.number);
                    let fails = order.number.is_multiple_of(5);
                    let text = bytes[..bytes.len().min(512)].to_vec();
                    course.over(
                        order.number,
                        Over {
                            exit_code: Some(i32::from(fails)),
                            signal: None,
                            outcome: if fails { Outcome::Failed } else { Outcome::Succeeded },
                            written: Written { output: text.clone(), env: text, ..Written::default() },
                            answer: Answer::default(),
                        },
                    );
                }
            }
            course.notes();
        }
    }

    fn expression(&self, text: &str) {
        if let Ok(expression) = Expression::parse(text, &SCOPE) {
            drop(evaluate(&expression, &self.contexts, &NoEnvironment, Options::default()));
        }
    }

    /// JSON that is read is read again as the same.
    fn json(&self, text: &str) {
        let mut contexts = Object::default();
        contexts.insert("text", Value::text(text));
        let scope = Scope { contexts: &["text"], functions: &[] };
        let again = |expression: &str| {
            let expression = Expression::parse(expression, &scope).ok()?;
            evaluate(&expression, &contexts, &NoEnvironment, Options::default()).ok()
        };
        let (once, twice) =
            (again("toJSON(fromJSON(text))"), again("toJSON(fromJSON(toJSON(fromJSON(text))))"));
        assert!(once.zip(twice).is_none_or(|(once, twice)| once.equals(&twice)), "JSON that changes");
    }

    fn pattern(&self, text: &str) {
        if let Ok(filter) = Filter::new(text.lines()) {
            std::hint::black_box(filter.matches("releases/10/é-alpha"));
        }
        drop(check_artifacts(&[text.to_owned()]));
    }
}

/// One execution; a text that panicked or took long is the error.
fn execute(world: &World, kind: usize, bytes: &[u8]) -> Result {
    let start = Instant::now();
    let text = String::from_utf8_lossy(bytes);
    let run = || match kind {
        0..=3 => world.workflow(bytes),
        4..=7 => world.expression(&text),
        8 => world.json(&text),
        _ => world.pattern(&text),
    };
    let ended = catch_unwind(AssertUnwindSafe(run));
    let took = start.elapsed();
    if ended.is_err() || took > MAX_TIME {
        return Err(format!("kind {kind} took {took:?}, panicked: {}\n{text:?}", ended.is_err()).into());
    }
    Ok(())
}

fn main() -> Result {
    let numbers: std::result::Result<Vec<u64>, _> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).map(|word| word.parse()).collect();
    let numbers = numbers?;
    let (executions, seed) =
        (numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(1));
    let (seeds, world, mut dice) = (Seeds::gather()?, World::new(), Dice(seed));
    println!("{} workflows, {} expressions to change", seeds.workflows.len(), seeds.expressions.len());

    // What hangs is found from outside: the text that is being worked on is written down, and looked at by a thread.
    let current = Arc::new(Mutex::new((0_u64, Vec::new())));
    let (done, over) = channel::<()>();
    let watched = Arc::clone(&current);
    let watch = std::thread::spawn(move || {
        let mut before = 0;
        while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(4 * MAX_TIME) {
            let Ok(now) = watched.lock() else { break };
            if now.0 == before {
                eprintln!("execution {} hangs\n{:?}", now.0, String::from_utf8_lossy(&now.1));
                std::process::abort();
            }
            before = now.0;
        }
    });
    let start = Instant::now();
    let mut longest = (Duration::ZERO, 0, String::new());
    for execution in 1..=executions {
        let kind = dice.roll(10);
        let bytes = dice.changed(match kind {
            0..=3 => &seeds.workflows,
            4..=7 => &seeds.expressions,
            8 => &seeds.json,
            _ => &seeds.patterns,
        });
        if let Ok(mut now) = current.lock() {
            *now = (execution, bytes.clone());
        }
        let began = Instant::now();
        execute(&world, kind, &bytes).map_err(|e| format!("execution {execution} of seed {seed}: {e}"))?;
        let took = began.elapsed();
        if took > longest.0 {
            let head = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            longest = (took, execution, head);
        }
    }
    drop(done);
    watch.join().map_err(|_| "the watch panicked")?;
    let rate = executions as f64 / start.elapsed().as_secs_f64();
    println!("{executions} executions of seed {seed}: no panic, no hang; {rate:.0} a second");
    println!("the longest, {}, took {:.2?}: {:?}", longest.1, longest.0, longest.2);
    Ok(())
}
