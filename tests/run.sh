#!/usr/bin/env bash
# The test command: makes the environment if need be, then formatting, lint, types and tests.
# Usage: tests/run.sh [PYTEST-ARGUMENT ...]     e.g. tests/run.sh -m "not recipe"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. ./path.sh
python3 -c 'import pytest, hypothesis, yaml, dask_jobqueue' 2>/dev/null && command -v ruff mypy >/dev/null ||
  utils/make_environment.sh test
export PATH="$PWD/.venv/bin:$PATH"

ruff format --check .
ruff check .
mypy
python3 -m pytest "$@"
