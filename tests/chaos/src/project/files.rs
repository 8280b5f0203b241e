//! What the project has beside its sources: the workflow, and the scripts that it uses. Pure.

/// The test's script.
pub(super) const SCRIPT: &str = "ci/roundtrip.sh";
/// What the test expects.
pub(super) const EXPECTED: &str = "ci/expected-version";
/// Of which a cache is told apart.
pub(super) const CORPUS: &str = "ci/corpus.sh";
/// A job that fills more than half of a node, so that the two builds run on two nodes.
const LARGE: &str = "{ cpus: 1, memory: 1200Mi }";

/// As people write them: a matrix, a cache, artifacts and outputs between jobs, a service with a health check, a secret. What
/// comes every minute only looks whether the version can be read.
pub(super) fn workflow() -> String {
    format!(
        r#"name: project
on:
  push:
  pull_request:
  schedule:
    - cron: '* * * * *'
jobs:
  prepare:
    runs-on: linux
    container: troupe/debian:local
    x-troupe: {{ resources: {{ cpus: 0.5, memory: 128Mi }} }}
    outputs:
      version: ${{{{ steps.version.outputs.version }}}}
    steps:
      - uses: actions/checkout@v4
      - id: version
        run: |
          number() {{ sed -n "s/^#define LZ4_VERSION_$1 *\([0-9]*\).*/\1/p" lib/lz4.h; }}
          echo "version=$(number MAJOR).$(number MINOR).$(number RELEASE)" >> "$GITHUB_OUTPUT"
      - run: 'echo "the key has ${{#DEPLOY_KEY}} characters"'
        env:
          DEPLOY_KEY: ${{{{ secrets.DEPLOY_KEY }}}}
  build:
    name: build ${{{{ matrix.kind }}}}
    needs: prepare
    if: github.event_name != 'schedule'
    runs-on: linux
    container: troupe/debian:local
    timeout-minutes: 20
    x-troupe: {{ resources: {LARGE} }}
    strategy:
      fail-fast: false
      matrix:
        kind: [small, fast]
        include:
          - {{ kind: small, flags: '-Os' }}
          - {{ kind: fast, flags: '-O3' }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/cache@v4
        id: corpus
        with:
          path: corpus
          key: corpus-${{{{ matrix.kind }}}}-${{{{ hashFiles('programs/datagen.c', '{CORPUS}') }}}}
      - if: steps.corpus.outputs.cache-hit != 'true'
        run: bash {CORPUS}
      - run: echo "building ${{{{ matrix.kind }}}}"
      - run: make -C lib liblz4.a && make -C programs lz4
        env:
          CFLAGS: ${{{{ matrix.flags }}}}
      - run: |
          for level in 1 3 9; do programs/lz4 -q -$level -c corpus/mixed | programs/lz4 -q -dc | cmp - corpus/mixed; done
          echo "built ${{{{ matrix.kind }}}} $(sha256sum < programs/lz4)"
      - uses: actions/upload-artifact@v4
        with:
          name: lz4-${{{{ matrix.kind }}}}
          path: programs/lz4
          if-no-files-found: error
  test:
    needs: [prepare, build]
    runs-on: linux
    container: troupe/debian:local
    timeout-minutes: 20
    x-troupe: {{ resources: {LARGE} }}
    services:
      samples:
        image: troupe/busybox:local
        entrypoint: sh -c
        command: "'sleep 1; mkdir /samples; cp /bin/busybox /samples/sample; exec httpd -f -p 80 -h /samples'"
        options: --health-cmd "wget -q -O /dev/null http://127.0.0.1/sample" --health-interval 200ms --health-retries 300 --memory 64m
    steps:
      - uses: actions/checkout@v4
      - uses: actions/download-artifact@v4
        with:
          pattern: lz4-*
          path: built
      - run: bash {SCRIPT} "${{{{ needs.prepare.outputs.version }}}}"
"#
    )
}

/// What the builds are tried with, made by the project's own generator: worth keeping.
pub(super) const MAKE_CORPUS: &str = "set -euo pipefail
make -C tests datagen
mkdir -p corpus
tests/datagen -g8M -P50 > corpus/mixed
echo made the corpus
";

/// Each of the two compresses what the other one can read, and both are the version that is expected.
pub(super) const ROUNDTRIP: &str = r#"set -euo pipefail
export LC_ALL=C
exec 3<>/dev/tcp/samples/80
printf 'GET /sample HTTP/1.0\r\nHost: samples\r\n\r\n' >&3
sed '1,/^\r$/d' <&3 > sample
test "$(wc -c < sample)" -gt 1000000
chmod +x built/*/lz4
for one in small fast; do
    echo "tested $one $(sha256sum < "built/lz4-$one/lz4")"
    "built/lz4-$one/lz4" --version | grep -F "v$1"
    for other in small fast; do
        "built/lz4-$one/lz4" -q -9 -c sample | "built/lz4-$other/lz4" -q -dc | cmp - sample
    done
done
test "$1" = "$(cat ci/expected-version)" || { echo "it is $1, which is not expected"; exit 1; }
echo all is well
"#;
