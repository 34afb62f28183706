#!/usr/bin/env bash
# The test command: makes the environment if need be, then formatting, lint, types and tests; at last
# the tests of kaldifeat and k2, each in an environment of its own (.venv_kaldifeat, .venv_k2).
# Usage: tests/run.sh [PYTEST-ARGUMENT ...]     e.g. tests/run.sh -m "not recipe"
# With arguments, the chosen tests alone: kaldifeat and k2 are neither installed nor tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. ./path.sh
python3 -c 'import pytest, hypothesis, yaml, dask_jobqueue' 2>/dev/null && command -v ruff mypy >/dev/null ||
  utils/make_environment.sh test
export PATH="$PWD/.venv/bin:$PATH"

test_kaldifeat() {
  if ! command -v c++ >/dev/null; then
    echo "$0: no C++ compiler (c++): kaldifeat NOT TESTED" >&2
    return
  fi
  local environment=$PWD/.venv_kaldifeat
  # All other packages are those of the environment that made it.
  python3 -m venv "$environment"
  python3 - "$environment" <<'PYTHON'
import sys, sysconfig
from pathlib import Path

inside = Path(sysconfig.get_path("purelib", vars={"base": sys.argv[1]}))
line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
(inside / "other_packages.pth").write_text(line)
PYTHON
  VIRTUAL_ENV=$environment PATH="$environment/bin:$PATH" utils/install_kaldifeat.sh
  "$environment/bin/python3" -m pytest -m kaldifeat tests/features
}

test_k2() {
  if ! python3 -c 'import platform, sys
sys.exit((platform.system(), platform.machine()) != ("Linux", "x86_64") or sys.version_info[:2] not in ((3, 10), (3, 11)))'; then
    echo "$0: the package index has no k2 for this system and Python: k2 NOT TESTED" >&2
    return
  fi
  utils/install_k2.py --with-tests .venv_k2
  .venv_k2/bin/python3 -m pytest tests/k2
}

ruff format --check .
ruff check .
mypy
python3 -m pytest "$@"
if [ $# = 0 ]; then
  test_kaldifeat
  test_k2
fi
