#!/usr/bin/env bash
# Pieces and graphemes instead of words and phones, on speechocean762: no lexicon, any word.
#
# Usage: ./run_subword.sh [--stage N] [--stop-stage M] [--OPTION VALUE ...]
#
# ./run.sh with the same --size (or --data, --exp, --conf, --sat) comes first, stages 0 to 7 and 11:
# cuts, features, and the systems of words that stand beside.  Both kinds are decoded with language
# models of one text, from which the test set's sentences and rare words were taken out.  Results:
# $exp/subword/RESULTS.md; docs/subwords.md of the toolkit says what is done.
#
# Options (every setting below is one):
#   --stage N, --stop-stage M   first and last stage: 1 pieces and language models, 3 to 6 GMMs and
#                               senones, 7 teacher, 8 student on labelled speech, 9 decoding, 10 table
#   --size default|tiny         as the recipe was run
#   --redo true                 do the chosen stages again even where they are up to date
#   --device auto|cpu|cuda      where the GMMs and networks are trained
#   --jobs N                    processes of the data-parallel steps (cmd.sh)
#   --executor WHERE            where they work: local:N, dask:tcp://HOST:PORT, slurm, sge (cmd.sh)
#   --processes N               processes that train each network, started by torchrun
#   --parallel ddp|gtc|bmuf     how they share it (docs/distributed_training.md)
#   --batches divided|whole     they share a batch of the settings' length, or each has one
#   --seed N                    seed of every random choice
#   --lm-text FILE              text of both language models (default: the labelled speakers')
#   --max-count N               test words that are in at most N sentences of it are taken out
#   --lm-order N, --piece-order N   order of the language models over words and over pieces
#   --sat true|false            speaker-adaptive GMMs, as the recipe was run
#   --data DIR, --exp DIR, --conf DIR   as the recipe was run
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

stage=1
stop_stage=10
size=default
redo=false
device=auto
jobs=
executor=
processes=1
parallel=ddp
batches=divided
seed=1
lm_text=
max_count=1
lm_order=3
piece_order=5
sat=true
data=
exp=
conf=

. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. local/size.sh

case $lm_text in
  "") lm_text=$data/local/speechocean762/lm_text.txt ;;
  /*) ;;
  *) lm_text=$called_from/$lm_text ;;
esac
words_exp=$exp
gmm=tri2
if [ "$sat" = true ]; then gmm=tri3; fi
for needed in "$data/lang" "$data/test/mfcc" "$words_exp/$gmm" "$words_exp/senones" \
  "$words_exp/teacher_ce" "$words_exp/student_supervised"; do
  if [ ! -d "$needed" ]; then
    echo "$0: $needed: no such folder; run ./run.sh, stages 0 to 7 and 11, with the same options first" >&2
    exit 1
  fi
done

exp=$words_exp/subword
lang=$data/subword/lang
words_lang=$data/subword/lang_words_test
held_out=$data/subword/lm_text
systems="$gmm student_supervised"
if grep -q '"fmllr-' "$words_exp/teacher_ce/front_end.json"; then
  echo "$0: $words_exp/teacher_ce sees features adapted to speakers: left out, and no teacher of pieces" >&2
else
  systems="$gmm teacher_ce student_supervised"
fi
smbr=false
dev_lm_text=
test_sets=test

. utils/recipe.sh

if begin_stage 1 "pieces, and language models without the test set's words"; then
  utils/hold_out_words.py --max-count "$max_count" "$lm_text" "$data/test" "$held_out"
  utils/prepare_subword_lang.py --config "$(settings subword.yaml)" --set "pieces.seed=$seed" \
    "$held_out/text.txt" "$lang"
  utils/text_to_pieces.py "$lang" "$held_out/text.txt" "$data/subword/pieces.txt"
  utils/train_ngram.py --order "$piece_order" --vocabulary "$lang/words.txt" \
    "$data/subword/pieces.txt" "$data/subword/pieces.arpa"
  utils/format_lm.py "$lang" "$data/subword/pieces.arpa" "${lang}_test"
  utils/train_ngram.py --order "$lm_order" "$held_out/text.txt" "$data/subword/words.arpa"
  utils/format_lm.py "$data/lang" "$data/subword/words.arpa" "$words_lang"
fi

run_gmm_stages

if [[ $systems = *teacher_ce* ]] && begin_stage 7 "teacher of pieces"; then
  train_cross_entropy teacher_ce teacher.yaml lfbe
fi

if begin_stage 8 "student of pieces on labelled speech alone"; then
  train_cross_entropy student_supervised student.yaml lfbe
fi

if begin_stage 9 "decoding, pieces and words"; then
  utils/mkgraph.py "$words_lang" "$words_exp/$gmm" "$exp/words/graph_$gmm"
  utils/mkgraph.py --self-loop-scale 1.0 "$words_lang" "$words_exp/senones" "$exp/words/graph_senones"
  for system in $systems; do
    if [ "$system" = "$gmm" ]; then graph=graph_$gmm features=mfcc; else graph=graph_senones features=lfbe; fi
    decode_system "$system" "$exp/$graph" "$features"
    decode_system "words/$system" "$exp/words/$graph" "$features" "$words_exp/$system"
  done
fi

if begin_stage 10 "the table"; then
  compared=()
  for system in $systems; do
    compared+=(--words "$system=$exp/words/$system" --pieces "$system=$exp/$system")
  done
  utils/open_vocabulary_results.py "${compared[@]}" --test-set test --data "$data/test" \
    --vocabulary "$held_out/words.txt" --seed "$seed" "$exp/RESULTS.md"
fi
