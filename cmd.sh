# Sourced by run.sh: how jobs are run.
# Data-parallel steps (corpus, features, soft labels, decoding) work in this many processes.

jobs=$(python3 -c 'import os; print(os.cpu_count() or 1)')
