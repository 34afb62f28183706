#!/usr/bin/env bash
# How well ddp, gtc and bmuf train the student of the embedded corpus, against one process and at
# equal data: dev loss, word error rates, bytes sent a batch.
#
# Usage: benchmarks/convergence.sh [--rows "ROW ..."] [--OPTION VALUE ...]
#
# ./run.sh with the same --size (or --data, --exp, --conf) comes first, stages 0 to 6 of it at least.
# Each row is conf/student.yaml trained on the labelled speech alone, without early stopping, by
# worker processes of this machine; more of them than cores are slower, nothing else.  A finished row
# is not trained again, a killed one goes on.  Table: $exp/convergence/CONVERGENCE.md.
#
# Rows; one_process is always the first:
#   ddp_WORKERS
#   gtc_WORKERS_density_SHARE, gtc_WORKERS_threshold_TAU
#   bmuf_WORKERS_INTERVAL_MOMENTUM      MOMENTUM: classical or nesterov, with η = 1 − 1/N and each
#                                       worker's optimiser kept; or none: models and optimisers averaged
#
# Options (every setting below is one):
#   --rows "ROW ..."            rows of the table (default: ddp and gtc at three densities with 2
#                               workers; bmuf with 2, 4, 8, at intervals of 10, 50, 200, both momenta,
#                               and with 2, 4, at 10, without)
#   --batches divided|whole     divided: the workers' batches together are as one process's, who makes
#                               about as many updates; whole: each worker's batch is, so that each
#                               makes 1/WORKERS of the updates
#   --batch-seconds S           speech in a batch of one process (default: that of conf/student.yaml)
#   --set "KEY=VALUE ..."       other settings of all rows, as of steps/train_ce.py: the learning rate
#                               (trainer.learning_rate), passes (epochs), dense updates of gtc, ...
#   --test-sets "NAME ..."      decoded and scored; empty: none
#   --stage N, --stop-stage M   first and last stage: 0 training, 1 decoding and scoring, 2 the table
#   --size tiny|default|large   as the recipe was run
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the networks are trained
#   --jobs N                    processes of decoding (cmd.sh)
#   --executor WHERE            where decoding works (cmd.sh)
#   --seed N                    as the recipe was run
#   --data DIR, --exp DIR, --conf DIR   as the recipe was run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rows="ddp_2 gtc_2_density_0.01 gtc_2_density_0.005 gtc_2_density_0.001"
for workers in 2 4 8; do
  for interval in 10 50 200; do
    rows="$rows bmuf_${workers}_${interval}_classical bmuf_${workers}_${interval}_nesterov"
  done
done
rows="$rows bmuf_2_10_none bmuf_4_10_none"
batches=divided
batch_seconds=
set=
test_sets="test_clean test_noisy test_very_noisy"
stage=0
stop_stage=2
size=default
redo=false
device=auto
jobs=
executor=
seed=1
data=
exp=
conf=

command="benchmarks/convergence.sh$([ $# = 0 ] || printf ' %q' "$@")"
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. local/size.sh

work=$exp/convergence
timings=$work/timings.tsv
dev_lm_text=
processes=1

stop() {
  echo "benchmarks/convergence.sh: $1" >&2
  exit 1
}

number='[0-9]+(\.[0-9]+)?(e-[0-9]+)?'
[[ $batch_seconds =~ ^($number)?$ ]] || stop "--batch-seconds must be a number, not '$batch_seconds'"
row_names="^(ddp_[1-9][0-9]*|gtc_[1-9][0-9]*_(density|threshold)_$number"
row_names="$row_names|bmuf_[1-9][0-9]*_[1-9][0-9]*_(classical|nesterov|none))\$"
rows=" $rows "
rows="one_process ${rows/ one_process / }"
for row in ${rows#one_process}; do
  [[ $row =~ $row_names ]] || stop "--rows $row: no such row (--help tells which there are)"
done
for folder in "$data/labeled/lfbe" "$data/dev/lfbe" "$exp/senones" "$exp/senone_labels"; do
  [ -d "$folder" ] || stop "$folder: no such folder; run the recipe with the same --data and --exp first"
done

mkdir -p "$work"
. utils/recipe.sh

# workers_of ROW
workers_of() {
  local rest=${1#*_}
  if [ "$1" = one_process ]; then echo 1; else echo "${rest%%_*}"; fi
}

# train_row ROW
train_row() {
  local processes parallel=${1%%_*} setting options momentum optimizer_state nesterov
  processes=$(workers_of "$1")
  options=(--config "$(settings student.yaml)" --set "trainer.seed=$seed"
    --set trainer.patience=0)
  if [ -n "$batch_seconds" ]; then options+=(--set "batching.batch_seconds=$batch_seconds"); fi
  for setting in $set; do options+=(--set "$setting"); done
  case $1 in
    gtc_*)
      setting=${1#gtc_*_}
      options+=(--set "parallel.gtc.${setting/_/=}")
      ;;
    bmuf_*)
      setting=${1#bmuf_*_}
      options+=(--set "parallel.bmuf.sync_interval=${setting%_*}")
      case $setting in
        *_nesterov) momentum=null optimizer_state=kept nesterov=true ;;
        *_classical) momentum=null optimizer_state=kept nesterov=false ;;
        *_none) momentum=0 optimizer_state=averaged nesterov=false ;;
      esac
      options+=(--set "parallel.bmuf.block_momentum=$momentum" --set "parallel.bmuf.nesterov=$nesterov"
        --set "parallel.bmuf.optimizer_state=$optimizer_state")
      ;;
  esac
  OMP_NUM_THREADS=1 train_network train_ce.py "${options[@]}" "$data/labeled/lfbe" \
    "$data/dev/lfbe" "$exp/senones" "$exp/senone_labels" "$work/$1"
}

if begin_stage 0 "trainings"; then
  for row in $rows; do train_row "$row"; done
fi

if [ -n "$test_sets" ] && begin_stage 1 "decoding and scoring"; then
  for row in $rows; do decode_system "convergence/$row" "$exp/graph_senones" lfbe; done
fi

if begin_stage 2 "the table"; then
  folders=()
  for row in $rows; do folders+=("$work/$row"); done
  benchmarks/convergence.py --command "$command" --test-sets "$test_sets" --seed "$seed" \
    --output "$work/CONVERGENCE.md" "${folders[@]}"
fi
end_stage
