#!/usr/bin/env bash
# Teacher-student recipe on speechocean762 (OpenSLR 101): read English, 250 non-native speakers.
#
# Usage: ./run.sh --corpus-dir DIR [--stage N] [--stop-stage M] [--OPTION VALUE ...]
#
# DIR is the corpus in its public layout (WAVE/, train/, test/, resource/lexicon.txt), the audio as
# WAV or as Ogg/Opus.  The speakers of --labeled-speakers are the labelled side, the other training
# speakers the unlabelled one.  Results: $exp/RESULTS.md.
#
# Options (every setting below is one):
#   --corpus-dir DIR            the corpus (needed by stage 0)
#   --stage N, --stop-stage M   first and last stage (0 to 14)
#   --labeled-speakers FILE     a speaker a line (default: DIR/labeled_speakers, or every third)
#   --dev-speakers N            labelled speakers held out to stop training and choose scales
#   --lm FILE                   language model in ARPA form (default: trained on the labelled text)
#   --size default|tiny         tiny: a few speakers, to try every stage in minutes
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the GMMs and networks are trained
#   --jobs N                    processes of the data-parallel steps (cmd.sh)
#   --executor WHERE            where they work: local:N, dask:tcp://HOST:PORT, slurm, sge (cmd.sh)
#   --processes N               processes that train each network, started by torchrun
#   --parallel ddp|gtc|bmuf     how they share it (docs/distributed_training.md)
#   --batches divided|whole     they share a batch of the settings' length, or each has one
#   --seed N                    seed of every random choice
#   --top-k N                   teacher logits stored a frame
#   --sat true|false            speaker-adaptive GMMs, whose alignments train the networks
#   --teacher-features lfbe|fmllr   what the teacher sees; fmllr: adapted to each speaker (needs --sat)
#   --smbr true|false           sequence training of teacher and student (stages 8 and 13)
#   --lm-order N                order of the trained language model
#   --lm-cutoffs 0,0,1          n-grams seen at most so often are left out, an order each
#   --data DIR, --exp DIR       where data and models go
#   --conf DIR                  settings that differ from those of the toolkit's conf/
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus_dir=
stage=0
stop_stage=14
labeled_speakers=
dev_speakers=4
lm=
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
sat=true
teacher_features=lfbe
smbr=true
lm_order=3
lm_cutoffs=
data=
exp=
conf=

. utils/parse_options.sh
. ./path.sh
. ./cmd.sh

. local/size.sh
max_speakers=
if [ "$size" = tiny ]; then max_speakers=12; fi

for name in corpus_dir labeled_speakers lm; do
  case ${!name} in
    "" | /*) ;;
    *) printf -v "$name" '%s' "$called_from/${!name}" ;;
  esac
done

corpus=$data/local/speechocean762
lexicon=$corpus/lexicon.txt
lm_text=$corpus/lm_text.txt
arpa=$lm
# A given model may have seen what the dev speakers say; lm_text leaves it out.
dev_lm_text=${lm:+$lm_text}
teacher_speech=unlabeled
test_sets=test

. utils/recipe.sh

if begin_stage 0 "corpus"; then
  if [ -z "$corpus_dir" ]; then
    echo "$0: --corpus-dir DIR is needed: where speechocean762 (OpenSLR 101) was unpacked" >&2
    exit 1
  fi
  if [ -z "$labeled_speakers" ] && [ -e "$corpus_dir/labeled_speakers" ]; then
    labeled_speakers=$corpus_dir/labeled_speakers
  fi
  local/prepare_data.py ${labeled_speakers:+--labeled-speakers "$labeled_speakers"} \
    --dev-speakers "$dev_speakers" ${max_speakers:+--max-speakers "$max_speakers"} "$corpus_dir" "$corpus"
  for set in labeled dev test; do
    utils/make_cuts.py --lexicon "$lexicon" --jobs "$jobs" "$corpus/$set" "$data/$set"
  done
  utils/make_cuts.py --no-text --jobs "$jobs" "$corpus/unlabeled" "$data/unlabeled"
fi

run_recipe_stages
