//! How long a workflow of 200 jobs takes from its text to its jobs: as a matrix, and written out as it can be run today.
//!
//! `cargo bench -p workflow --bench expand -- [ROUNDS]`, 500 unless it is said otherwise. Prints a table: the
//! shortest round, which is what it takes when nothing else runs, the median, and what 99 of 100 rounds stay under.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use domain::{Event, EventKind, Form, RunId};
use workflow::contexts::Facts;
use workflow::expression::{Object, Value};
use workflow::{Mint, NoFiles, Occasion, Spec, expand, read, variants};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Jobs of each workflow.
const JOBS: usize = 200;

/// A job of five steps in 10 times 20 variants, with one variant more by `include` and one less by `exclude`.
fn matrix() -> String {
    let list =
        |name: &str, count: usize| (0..count).map(|i| format!("{name}-{i}")).collect::<Vec<_>>().join(", ");
    format!(
        r#"name: Matrix
on:
  push: {{ branches: [main, 'releases/**', '!releases/old'], paths: ['src/**', '!**.md'] }}
  pull_request:
env: {{ CI_NAME: '${{{{ github.repository }}}}@${{{{ github.sha }}}}' }}
jobs:
  test:
    name: Test ${{{{ matrix.os }}}} with ${{{{ matrix.version }}}}
    runs-on: ['${{{{ startsWith(matrix.os, ''os-1'') && ''big'' || ''small'' }}}}', linux]
    if: github.event_name != 'pull_request' || !github.event.pull_request.draft
    strategy:
      fail-fast: false
      max-parallel: 20
      matrix:
        os: [{}]
        version: [{}]
        exclude: [{{ os: os-0, version: version-0 }}]
        include: [{{ os: extra, version: one }}, {{ os: os-1, cache: true }}]
    env: {{ TARGET: '${{{{ matrix.os }}}}/${{{{ matrix.version }}}}' }}
    steps:
      - uses: actions/checkout@v4
        with: {{ fetch-depth: 0, ref: '${{{{ github.ref }}}}' }}
      - id: setup
        run: |
          echo "version=${{{{ matrix.version }}}}" >> "$GITHUB_OUTPUT"
      - run: make test VERSION=${{{{ steps.setup.outputs.version }}}}
        if: ${{{{ success() && matrix.cache != true }}}}
        env: {{ KEY: '${{{{ hashFiles(''**/Cargo.lock'') }}}}' }}
      - run: make report
        if: always()
        continue-on-error: true
      - run: echo ${{{{ join(fromJSON('["a", "b"]'), '-') }}}}
"#,
        list("os", 10),
        list("version", 20)
    )
}

/// As many jobs, each written out, without expressions.
fn written_out() -> String {
    let job = |i: usize| {
        format!(
            "  job-{i}:\n    runs-on: [linux, big]\n    env: {{ N: {i} }}\n    steps:\n      - uses: actions/checkout@v4\n      - run: |\n          make test\n          make report\n        working-directory: src\n      - run: echo done\n        if: always()\n"
        )
    };
    let jobs: String = (0..JOBS).map(job).collect();
    format!("name: Written out\non: {{ push: {{ branches: [main] }} }}\njobs:\n{jobs}")
}

fn contexts() -> Object {
    let mut contexts = Object::default();
    let github = [
        ("repository", "a/b"),
        ("sha", "0123456789abcdef"),
        ("ref", "refs/heads/main"),
        ("event_name", "push"),
    ];
    contexts.insert("github", Value::object(github.map(|(name, text)| (name, Value::text(text)))));
    contexts
}

struct Plain(u128);

impl Mint for Plain {
    fn run_id(&mut self) -> RunId {
        self.0 += 1;
        RunId(self.0)
    }

    fn encode(&self, spec: Spec<'_>) -> std::result::Result<Vec<u8>, String> {
        let encoded = match spec {
            Spec::Job(spec) => serde_json::to_vec(spec),
            Spec::Group(spec) => serde_json::to_vec(spec),
            Spec::Undecided(spec) => serde_json::to_vec(spec),
        };
        encoded.map_err(|e| e.to_string())
    }
}

/// The times of these many rounds, the shortest first.
fn times(rounds: usize, mut round: impl FnMut() -> Result<usize>) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let jobs = black_box(round()?);
        times.push(start.elapsed());
        if jobs != JOBS {
            return Err(format!("{jobs} jobs, not {JOBS}").into());
        }
    }
    times.sort();
    Ok(times)
}

fn main() -> Result {
    // Cargo adds words of its own.
    let rounds = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let rounds = rounds.map_or(Ok(500), |word| word.parse())?;
    let (matrix, written_out, contexts) = (matrix(), written_out(), contexts());
    let event = Event { git_ref: "refs/heads/main".to_owned(), ..Event::of(EventKind::Push) };
    let whole = |text: &str| -> Result<usize> {
        let (workflow, found) = read(text.as_bytes());
        let workflow = workflow.filter(|_| found.is_empty()).ok_or_else(|| format!("{found:?}"))?;
        let made: std::result::Result<Vec<_>, _> =
            workflow.jobs.iter().map(|job| variants(job, &contexts)).collect();
        Ok(made?.iter().map(Vec::len).sum())
    };
    println!("| {JOBS} jobs, {rounds} rounds | bytes | least | median | p99 |\n|---|---|---|---|---|");
    let row = |name: &str, bytes: usize, times: &[Duration]| {
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        println!("| {name} | {bytes} | {:.2?} | {:.2?} | {:.2?} |", at(0), at(50), at(99));
    };
    row("a matrix, read and expanded", matrix.len(), &times(rounds, || whole(&matrix))?);
    row("written out, read and expanded", written_out.len(), &times(rounds, || whole(&written_out))?);
    let facts = Facts::default();
    // What filters by paths is asked nothing: as if any had changed.
    let occasion =
        Occasion { event: &event, only_path: "", facts: &facts, files: &NoFiles, changed: &|| None };
    let run = |text: &str| {
        let files = [("ci.yml".to_owned(), text.as_bytes().to_vec())];
        let made = expand(&files, &occasion, &mut Plain(0));
        let jobs = made.iter().flat_map(|run| &run.jobs);
        // A group is none of the jobs that run.
        Ok(jobs.filter(|job| job.form == Form::Job).count())
    };
    row("a matrix, to a run's specifications", matrix.len(), &times(rounds, || run(&matrix))?);
    row("written out, to a run's specifications", written_out.len(), &times(rounds, || run(&written_out))?);
    Ok(())
}
