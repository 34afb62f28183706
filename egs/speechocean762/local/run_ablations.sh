#!/usr/bin/env bash
# What each part of the method brings, on speechocean762: ablations, a table, curves.
#
# Usage: local/run_ablations.sh [--rows "..."] [--seeds "1 2 3"] [--OPTION VALUE ...]
#
# ./run.sh with the same --size (or --data, --exp, --conf) comes first.  Its own systems are rows of
# the table and are not trained again.  Results: $exp/ablations/ABLATIONS.md; docs/ablations.md of
# the toolkit says what the rows are.
#
# Options (every setting below is one):
#   --rows "ROW ..."            rows of the table (default: all; utils/ablations.sh lists them)
#   --seeds "N ..."             seeds of the rows that carry a claim
#   --stage N, --stop-stage M   first and last stage: 0 labels, 1 cross-entropy, 2 sMBR, 3 decoding,
#                               4 the table
#   --size default|tiny         as the recipe was run
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the networks are trained
#   --jobs N                    trainings side by side, and processes of the other steps (cmd.sh)
#   --executor WHERE            where the data-parallel steps work (cmd.sh)
#   --processes N               processes that train each network, started by torchrun
#   --parallel ddp|gtc|bmuf     how they share it (docs/distributed_training.md)
#   --batches divided|whole     they share a batch of the settings' length, or each has one
#   --seed N, --top-k N, --teacher-features NAME   as the recipe was run
#   --data DIR, --exp DIR, --conf DIR   as the recipe was run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. utils/ablation_options.sh
. local/size.sh

teacher_speech=unlabeled
test_sets=test
# The recipe decodes dev with a graph of its own where it was given a language model.
dev_lm_text=
if [ -d "$exp/graph_senones_dev" ]; then dev_lm_text=$data/local/lm_dev.arpa; fi
timings=$exp/ablations/timings.tsv

. utils/recipe.sh
. utils/ablations.sh

run_ablations
