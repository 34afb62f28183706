#!/usr/bin/env bash
# GMM-HMMs beside Kaldi's on the same data: monophones, deltas, LDA+MLLT, speaker-adaptive.
#
# Usage: local/run_gmm.sh --corpus-dir DIR [--training-sets "train labeled"] [--OPTION VALUE ...]
#
# Each training set is trained and decoded as Kaldi's scripts do it: mono, tri1, tri2 of the same
# sizes, every language-model weight from 7 to 17 and penalty 0, 0.5, 1.  tri2_tuned and tri3, which
# stands on it, are of the sizes that were best on other speakers.  The table is $exp/GMM_RESULTS.md.
#
# Options (every setting below is one):
#   --corpus-dir DIR            the corpus (public layout, WAV or Ogg/Opus)
#   --training-sets NAMES       train: all training speakers; labeled: DIR/labeled_speakers
#   --decoded NAMES             models that are decoded (default: tri2 tri2_tuned tri3)
#   --normalise-variance true|false   of a speaker's MFCC, besides the mean
#   --lm FILE                   language model in ARPA form (default: DIR/lm/tg.arpa)
#   --jobs N                    processes of the data-parallel steps (cmd.sh)
#   --executor WHERE            where they work: local:N, dask:tcp://HOST:PORT, slurm, sge (cmd.sh)
#   --device auto|cpu|cuda, --seed N
#   --data DIR, --exp DIR       where data and models go
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

corpus_dir=
training_sets="train labeled"
decoded="tri2 tri2_tuned tri3"
normalise_variance=false
lm=
jobs=
executor=
device=auto
seed=1
data=data/gmm
exp=exp/gmm

. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
executor=${executor:-local:$jobs}
conf=../../conf

if [ -z "$corpus_dir" ]; then
  echo "$0: --corpus-dir DIR is needed: where speechocean762 (OpenSLR 101) was unpacked" >&2
  exit 1
fi
for name in corpus_dir lm; do
  case ${!name} in
    "" | /*) ;;
    *) printf -v "$name" '%s' "$called_from/${!name}" ;;
  esac
done
lm=${lm:-$corpus_dir/lm/tg.arpa}

# make_mfcc PREPARED NAME OUT: cuts and MFCC of a prepared set.
make_mfcc() {
  utils/make_cuts.py --lexicon "$1/lexicon.txt" --jobs "$jobs" "$1/$2" "$3"
  steps/make_features.py --kind mfcc --config $conf/mfcc.yaml --executor "$executor" "$3" "$3/mfcc"
}

# train_set NAME, then leaves and Gaussians of tri1, of tri2, and of tri2_tuned and tri3
train_set() {
  local speech=$data/$1/mfcc models=$exp/$1
  local where=(--executor "$executor" --device "$device")
  local options=(--seed "$seed" "${where[@]}")
  local variance=(--set normalise_variance="$normalise_variance")
  local deltas=(--set tree.num_leaves="$2" --set em.num_gaussians="$3")
  local lda=(--set tree.num_leaves="$4" --set em.num_gaussians="$5")
  local tuned=(--set tree.num_leaves="$6" --set em.num_gaussians="$7")
  steps/train_mono.py --config $conf/mono.yaml "${options[@]}" "${variance[@]}" \
    "$speech" "$data/lang" "$models/mono"
  steps/align.py "${where[@]}" "$speech" "$data/lang" "$models/mono" "$models/mono_ali"
  steps/train_deltas.py --config $conf/tri1.yaml "${options[@]}" "${variance[@]}" "${deltas[@]}" \
    "$speech" "$data/lang" "$models/mono_ali" "$models/tri1"
  steps/align.py "${where[@]}" "$speech" "$data/lang" "$models/tri1" "$models/tri1_ali"
  steps/train_lda_mllt.py --config $conf/tri2.yaml "${options[@]}" "${variance[@]}" "${lda[@]}" \
    "$speech" "$data/lang" "$models/tri1_ali" "$models/tri2"
  steps/train_lda_mllt.py --config $conf/tri2.yaml "${options[@]}" "${variance[@]}" "${tuned[@]}" \
    "$speech" "$data/lang" "$models/tri1_ali" "$models/tri2_tuned"
  steps/align.py "${where[@]}" "$speech" "$data/lang" "$models/tri2_tuned" \
    "$models/tri2_tuned_ali"
  steps/train_sat.py --config $conf/tri3.yaml "${options[@]}" "${tuned[@]}" \
    "$speech" "$data/lang" "$models/tri2_tuned" "$models/tri2_tuned_ali" "$models/tri3"
}

# decode_model MODEL: lattices of the test set, every weight and penalty.
decode_model() {
  local model=$1 transforms=()
  utils/mkgraph.py "$data/lang_test" "$model" "$model/graph"
  if [ -d "$model/speaker_independent" ]; then
    steps/estimate_fmllr.py --config $conf/fmllr.yaml --set scales.acoustic_scale=0.083333 \
      --executor "$executor" "$model/graph" "$data/test/mfcc" "$model" "$model/transforms_test"
    transforms=(--transforms "$model/transforms_test")
  fi
  # The lattice decoder has no bound on the number of tokens, so its beam is below Kaldi's 13.
  steps/decode_grid.py --set beam=11 --executor "$executor" ${transforms[@]+"${transforms[@]}"} \
    "$model/graph" "$data/test/mfcc" "$model" "$model/grid_test"
  steps/score.py --seed "$seed" "$data/test/mfcc" "$model/grid_test/best" "$model/score_test"
}

for training_set in $training_sets; do
  prepared=$data/local/$training_set
  case $training_set in
    train) speakers=(--all-labeled) ;;
    labeled) speakers=(--labeled-speakers "$corpus_dir/labeled_speakers") ;;
    *)
      echo "$0: --training-sets names train or labeled, not '$training_set'" >&2
      exit 1
      ;;
  esac
  local/prepare_data.py "${speakers[@]}" --dev-speakers 0 "$corpus_dir" "$prepared"
  make_mfcc "$prepared" labeled "$data/$training_set"
  if [ ! -e "$data/lang_test" ]; then
    utils/prepare_lang.py --config $conf/lang.yaml "$prepared/lexicon.txt" "$data/lang"
    utils/format_lm.py "$data/lang" "$lm" "$data/lang_test"
    make_mfcc "$prepared" test "$data/test"
  fi
done

for training_set in $training_sets; do
  case $training_set in
    train) train_set train 1232 10000 1744 15000 800 4000 ;;
    labeled) train_set labeled 664 6000 880 8000 400 2000 ;;
  esac
done

for model in $decoded; do
  for training_set in $training_sets; do decode_model "$exp/$training_set/$model"; done
done
rows=()
for training_set in $training_sets; do
  for model in mono tri1 tri2 tri2_tuned tri3; do
    rows+=(--model "$training_set, $model=$exp/$training_set/$model")
  done
done
utils/gmm_results.py "${rows[@]}" --reference local/kaldi_gmm.tsv "$exp/GMM_RESULTS.md"
