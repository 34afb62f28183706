# Sourced by local/run_ablations.sh: its options, which are the same for every corpus.

rows=
seeds="1 2 3"
stage=0
stop_stage=4
size=default
redo=false
device=auto
jobs=
executor=
processes=1
parallel=ddp
batches=divided
seed=1
top_k=20
teacher_features=lfbe
data=
exp=
conf=

. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
