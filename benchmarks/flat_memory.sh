#!/usr/bin/env bash
# Peak memory of sharding, soft-label dump and a student's pass, as the corpus grows: it must not.
# Usage: benchmarks/flat_memory.sh [--hours 1,4,16] [--folder DIR] [--max-growth 0.05]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. ./path.sh
exec python3 benchmarks/flat_memory.py "$@"
