#!/usr/bin/env bash
# The tests that scripts/test.sh runs for a minute, for long: processes killed in the middle of their writes, seeds of the
# simulation, and its planted bugs. Prints how to have a failure again.
#
#     scripts/test-long.sh [KILLS] [SEEDS]      1000 and 1000, unless they are given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kills=${1:-1000}
seeds=${2:-1000}

echo "== $kills kills"
TROUPE_CRASH_KILLS=$kills cargo test -p crash --test killed -- --nocapture
echo "== $seeds seeds"
cargo run -p simulation --release -- --seeds "$seeds"
echo "== planted bugs, each within 200 seeds"
cargo run -p simulation --release --features planted-bugs -- --bug all --seeds 200
