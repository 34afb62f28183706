#!/usr/bin/env bash
# Builds kaldifeat for the torch of the active environment and installs it there (docs/engines.md).
# Usage: utils/install_kaldifeat.sh [WHEELS]      WHEELS: where built wheels are kept, one folder a torch
# Sources and build tools come from pip's index; needs a C++20 compiler, and nvcc for a CUDA torch.
# Takes 5 to 8 minutes on 2 cores, seconds where WHEELS holds the wheel already.
set -euo pipefail

kaldifeat=kaldifeat==1.24
pybind11=pybind11==3.0.4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
wheels=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/megahour/wheels}
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$root/.venv/bin/python3" ]; then
  export PATH="$root/.venv/bin:$PATH"
fi
pip=(python3 -m pip --quiet --disable-pip-version-check)

stop() {
  echo "$0: $1" >&2
  exit 1
}
works() {
  python3 -c 'import torch, kaldifeat; kaldifeat.Fbank(kaldifeat.FbankOptions())(torch.zeros(800))' 2>/dev/null
}

torch=$(python3 -c 'import sys, torch; print(f"torch-{torch.__version__}-cp{sys.version_info[0]}{sys.version_info[1]}")' 2>/dev/null) ||
  stop "$(command -v python3) has no torch; run utils/make_environment.sh first"
if works; then
  echo "$0: kaldifeat is installed and fits $torch; nothing to do" >&2
  exit 0
fi
wheels=$wheels/${kaldifeat/==/-}-$torch
if ! ls "$wheels"/kaldifeat-*.whl >/dev/null 2>&1; then
  command -v c++ >/dev/null || stop "no C++ compiler (c++); install one (Debian: apt-get install g++, macOS: xcode-select --install)"
  if [ "$(python3 -c 'import torch; print(torch.version.cuda)')" != None ]; then
    command -v nvcc >/dev/null || stop "$torch is a CUDA build and there is no nvcc on the PATH; install the CUDA toolkit of that version"
  fi
  mkdir -p "$wheels"
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  echo "$0: building $kaldifeat for $torch; 5 to 8 minutes on 2 cores; log: $wheels/build.log" >&2
  "${pip[@]}" install --target "$build/tools" 'cmake>=3.27,<5' 'setuptools>=68' wheel
  "${pip[@]}" download --no-deps --no-binary pybind11 --dest "$build" "$pybind11"
  mkdir "$build/pybind11"
  tar -xzf "$build"/pybind11-*.tar.gz -C "$build/pybind11" --strip-components 1
  export PYTHONPATH="$build/tools${PYTHONPATH:+:$PYTHONPATH}" PATH="$build/tools/bin:$PATH"
  export MAKEFLAGS=${MAKEFLAGS:--j$(python3 -c 'import os; print(os.cpu_count() or 1)')}
  # Its own default is C++14, which torch no longer compiles as; its pybind11 is fetched from elsewhere.
  export KALDIFEAT_CMAKE_ARGS="-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_STANDARD=20 -DFETCHCONTENT_SOURCE_DIR_PYBIND11=$build/pybind11"
  # Without pip's cache: its key is the source, and the wheel would outlive the torch it is built for.
  if ! python3 -m pip wheel --disable-pip-version-check --verbose --no-cache-dir --no-build-isolation --no-deps \
    --no-binary kaldifeat --wheel-dir "$build/wheel" "$kaldifeat" >"$wheels/build.log" 2>&1; then
    grep -m 3 -iE 'error( at|:)' "$wheels/build.log" >&2 || tail -n 3 "$wheels/build.log" >&2
    stop "the build failed; the whole log is $wheels/build.log"
  fi
  mv "$build"/wheel/kaldifeat-*.whl "$wheels"
fi
"${pip[@]}" install --no-deps --force-reinstall "$wheels"/kaldifeat-*.whl
works || stop "the installed kaldifeat does not run; remove $wheels and run this again"
echo "$0: installed $kaldifeat for $torch in $SECONDS s; the wheel is kept in $wheels" >&2
