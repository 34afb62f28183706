# Sourced by run.sh: how jobs are run (docs/clusters.md), where the command line does not say.

# Processes of this machine.
jobs=${jobs:-$(python3 -c 'import os; print(os.cpu_count() or 1)')}

# Where the data-parallel steps work: features, GMM training, alignment, lattices, soft labels,
# decoding.
#   local:N                N processes of this machine
#   dask:tcp://HOST:PORT   the workers of a running Dask scheduler
#   slurm:FILE.yaml        Slurm jobs, for instance slurm:$MEGAHOUR_ROOT/conf/slurm.yaml
#   sge:FILE.yaml          SGE jobs
# Empty is local:$jobs.
executor=${executor:-}
