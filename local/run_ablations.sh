#!/usr/bin/env bash
# What each part of the method brings, on the embedded corpus: ablations, a table, curves.
#
# Usage: local/run_ablations.sh [--rows "..."] [--seeds "1 2 3"] [--OPTION VALUE ...]
#
# ./run.sh with the same --size (or --data, --exp, --conf) comes first.  Its own systems are rows of
# the table and are not trained again.  Results: $exp/ablations/ABLATIONS.md; docs/ablations.md says
# what the rows are.
#
# Options (every setting below is one):
#   --rows "ROW ..."            rows of the table (default: all; utils/ablations.sh lists them)
#   --seeds "N ..."             seeds of the rows that carry a claim
#   --stage N, --stop-stage M   first and last stage: 0 labels, 1 cross-entropy, 2 sMBR, 3 decoding,
#                               4 the table
#   --size tiny|default|large   as the recipe was run
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the networks are trained
#   --jobs N                    trainings side by side, and processes of the other steps (cmd.sh)
#   --executor WHERE            where the data-parallel steps work (cmd.sh)
#   --processes N               processes that train each network, started by torchrun
#   --parallel ddp|gtc|bmuf     how they share it (docs/distributed_training.md)
#   --batches divided|whole     they share a batch of the settings' length, or each has one
#   --seed N, --top-k N, --parallel-data true|false, --teacher-features NAME   as the recipe was run
#   --data DIR, --exp DIR, --conf DIR   as the recipe was run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parallel_data=true
. utils/ablation_options.sh
. local/size.sh

teacher_speech=unlabeled
if [ "$parallel_data" = true ]; then teacher_speech=unlabeled_clean; fi
test_sets="test_clean test_noisy test_very_noisy"
dev_lm_text=
timings=$exp/ablations/timings.tsv

. utils/recipe.sh
. utils/ablations.sh

run_ablations
