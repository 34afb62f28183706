#!/usr/bin/env bash
# Makes .venv in the clone with the package versions of constraints.txt.
# Usage: utils/make_environment.sh [EXTRA]      EXTRA: test, cluster (see setup.py)
# The CPU build of torch is taken where there is no NVIDIA GPU.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
extra=${1:-}
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "$0: $("$python" --version) is too old; give a Python of 3.10 or later: PYTHON=/path/to/python3 $0" >&2
  exit 1
fi
if [ ! -x "$root/.venv/bin/python3" ]; then
  echo "$0: making $root/.venv (once; a few minutes)" >&2
  if ! "$python" -m venv "$root/.venv"; then
    rm -rf "$root/.venv"
    echo "$0: this Python has no venv module; install it (Debian: apt-get install python3-venv)" >&2
    exit 1
  fi
fi
pip=("$root/.venv/bin/python3" -m pip install --quiet --disable-pip-version-check)
constraints="$root/constraints.txt"
torch=$(grep '^torch==' "$constraints")

install_torch() {
  if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    "${pip[@]}" "$torch"
  else
    # A local wheel folder or mirror first, then PyTorch's own index of CPU builds, then any build.
    "${pip[@]}" "$torch+cpu" 2>/dev/null ||
      "${pip[@]}" --retries 0 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
      "${pip[@]}" "$torch"
  fi
}

"$root/.venv/bin/python3" -c 'import torch' 2>/dev/null || install_torch
"${pip[@]}" --constraint "$constraints" --editable "$root${extra:+[$extra]}"
"$root/.venv/bin/python3" -c 'import am.environment'
