# Sourced by run.sh, or by hand (". ./path.sh") before single tools are called.
# Puts the toolkit on the path, and makes its environment on the first call.

# Recipes under egs/ link to this file.
MEGAHOUR_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
export MEGAHOUR_ROOT
export PYTHONPATH="$MEGAHOUR_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export LC_ALL=C
export PYTHONUNBUFFERED=1
if [ -x "$MEGAHOUR_ROOT/.venv/bin/python3" ]; then
  export PATH="$MEGAHOUR_ROOT/.venv/bin:$PATH"
fi
if ! python3 -c 'import am.environment' 2>/dev/null; then
  "$MEGAHOUR_ROOT/utils/make_environment.sh"
  export PATH="$MEGAHOUR_ROOT/.venv/bin:$PATH"
fi
