#!/usr/bin/env bash
# The default recipe: a teacher and its students on an embedded corpus of synthetic speech.
#
# Usage: ./run.sh [--stage N] [--stop-stage M] [--OPTION VALUE ...]
#
# It makes its environment if the imports are missing, runs the numbered stages, goes on where a
# killed run stopped, and ends with the table of word error rates ($exp/RESULTS.md).
#
# Options (every setting below is one):
#   --stage N, --stop-stage M   first and last stage (0 to 14)
#   --size tiny|default|large   tiny: all stages in minutes; large: 10 h + 100 h, for a GPU
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the GMMs and networks are trained
#   --jobs N                    processes of the data-parallel steps (cmd.sh)
#   --executor WHERE            where they work: local:N, dask:tcp://HOST:PORT, slurm, sge (cmd.sh)
#   --processes N               processes that train each network, started by torchrun
#   --parallel ddp|gtc|bmuf     how they share it (docs/distributed_training.md)
#   --batches divided|whole     they share a batch of the settings' length, or each has one
#   --seed N                    seed of the corpus and of every random choice
#   --top-k N                   teacher logits stored a frame
#   --parallel-data true|false  the teacher labels clean copies of the unlabelled speech, so that the
#                               student learns what they say from rooms and noise; or what it hears
#   --sat true|false            speaker-adaptive GMMs, whose alignments train the networks
#   --teacher-features lfbe|fmllr   what the teacher sees; fmllr: adapted to each speaker (needs --sat)
#   --smbr true|false           sequence training of teacher and student (stages 8 and 13)
#   --lm-order N                order of the n-gram language model
#   --lm-cutoffs 0,0,1          n-grams seen at most so often are left out, an order each
#   --data DIR, --exp DIR       where data and models go
#   --conf DIR                  settings that differ from those of conf/ (default: the size's own)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

stage=0
stop_stage=14
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
parallel_data=true
sat=true
teacher_features=lfbe
smbr=true
lm_order=3
lm_cutoffs=0,0,1
data=
exp=
conf=

. utils/parse_options.sh
. ./path.sh
. ./cmd.sh

. local/size.sh

corpus=$data/local/embedded
lexicon=$corpus/lexicon.txt
lm_text=$corpus/lm_text.txt
arpa=
dev_lm_text=
teacher_speech=unlabeled
if [ "$parallel_data" = true ]; then teacher_speech=unlabeled_clean; fi
test_sets="test_clean test_noisy test_very_noisy"

. utils/recipe.sh

if begin_stage 0 "corpus: text, voices, rooms and noise"; then
  local/make_corpus.py --config "$(settings corpus.yaml)" --seed "$seed" --jobs "$jobs" "$corpus"
  for set in labeled dev $test_sets; do
    utils/make_cuts.py --lexicon "$lexicon" --jobs "$jobs" "$corpus/$set" "$data/$set"
  done
  for set in unlabeled unlabeled_clean; do
    utils/make_cuts.py --no-text --jobs "$jobs" "$corpus/$set" "$data/$set"
  done
fi

run_recipe_stages
