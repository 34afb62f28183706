# Sourced by run.sh: stages 1 to 14, the same for every corpus.  Stage 0, the corpus, is run.sh's own.
#
# run.sh sets, before it sources this file:
#   data, exp, conf        folders: data, models and results, settings that differ from the default
#   lexicon, lm_text       files: lexicon in Kaldi's form; text of the language model, a sentence a line
#   arpa                   a ready language model in ARPA form, or empty to train one on lm_text
#   lm_order, lm_cutoffs   order of the trained language model; counts left out, an order each
#   dev_lm_text            text of a language model for dev alone, where the other one has seen what
#                          dev says; empty for the same model
#   teacher_speech         name of the folder under $data that the teacher labels: unlabeled, or one of
#                          the same cuts recorded better
#   teacher_features       what the teacher sees: lfbe, as the student does, or fmllr, adapted to speakers
#                          (needs sat); unset for lfbe
#   test_sets              names of the test sets under $data, separated by spaces
#   top_k                  stored logits a frame
#   sat                    true: also speaker-adaptive GMMs, whose alignments train the networks
#   smbr                   true: also sequence training (stages 8 and 13)
#   jobs, device, seed, stage, stop_stage, redo
#   processes, parallel    processes that train a network, and how (docs/distributed_training.md)
#   batches                divided: they share a batch; whole: each has one
#   executor               where the data-parallel steps work (cmd.sh); empty for local:$jobs
#   timings                file of the stages' times; unset for the usual one
#   lang                   the lang folder; unset for $data/lang

mkdir -p "$exp"
export MEGAHOUR_REDO=$redo
export MEGAHOUR_WORK_MARK=$exp/.worked
timings=${timings:-$exp/timings.tsv}
executor=${executor:-local:$jobs}
lang=${lang:-$data/lang}
teacher_features=${teacher_features:-lfbe}
current_stage=
running=()
case $batches in
  divided | whole) ;;
  *)
    echo "$0: --batches must be divided or whole, not '$batches'" >&2
    exit 1
    ;;
esac
case $teacher_features in
  lfbe) ;;
  fmllr)
    if [ "${sat:-true}" != true ]; then
      echo "$0: --teacher-features fmllr needs the speaker-adapted GMM of --sat true" >&2
      exit 1
    fi
    ;;
  *)
    echo "$0: --teacher-features must be lfbe or fmllr, not '$teacher_features'" >&2
    exit 1
    ;;
esac
case $processes in
  "" | *[!0-9]* | 0)
    echo "$0: --processes must be a whole number, at least 1, not '$processes'" >&2
    exit 1
    ;;
esac
[ "$redo" = true ] && rm -f "$timings"

# settings NAME: the recipe's own settings file, or the default one where it has none.
default_conf=$(python3 -c 'import os, sys; print(os.path.relpath(sys.argv[1]))' "$MEGAHOUR_ROOT/conf")
settings() {
  if [ -e "$conf/$1" ]; then echo "$conf/$1"; else echo "$default_conf/$1"; fi
}

# begin_stage NUMBER TITLE: true if the stage is to run.
begin_stage() {
  end_stage
  [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ] || return 1
  current_stage=$1
  current_title=$2
  stage_started=$SECONDS
  rm -f "$MEGAHOUR_WORK_MARK"
  echo "== stage $1: $2" >&2
}

# end_stage: notes the stage's time, if it did any work.
end_stage() {
  if [ -n "$current_stage" ] && [ -e "$MEGAHOUR_WORK_MARK" ]; then
    printf '%s\t%s\t%s\n' "$current_stage" "$((SECONDS - stage_started))" "$current_title" >>"$timings"
    rm -f "$MEGAHOUR_WORK_MARK"
  fi
  current_stage=
}
trap 'end_stage' EXIT

# train_network TOOL OPTION ...: in $processes processes, if there are to be several.
train_network() {
  local tool=(steps/"$1" --device "$device")
  shift
  if [ "$processes" -gt 1 ]; then
    if [ "$batches" = divided ]; then tool+=(--set batching.divided=true); fi
    torchrun --standalone --nproc-per-node "$processes" "${tool[@]}" --parallel "$parallel" "$@"
  else
    "${tool[@]}" "$@"
  fi
}

# start COMMAND ...: runs it beside the others, for a training keeps one core busy: at most $jobs at a
# time, or one where each has several processes.
start() {
  local at_most=$jobs
  if [ "$processes" -gt 1 ]; then at_most=1; fi
  if [ "${#running[@]}" -ge "$at_most" ]; then
    wait "${running[0]}"
    running=("${running[@]:1}")
  fi
  "$@" &
  running+=($!)
}

# finish: waits for all that were started.
finish() {
  local process
  for process in ${running[@]+"${running[@]}"}; do wait "$process"; done
  running=()
}

# decode_system SYSTEM GRAPH FEATURES [MODEL]: scales from dev, then every test set, scored while the
# next one is decoded.  What comes out lies in $exp/SYSTEM, which is the model too if none is given.
decode_system() {
  local system=$1 graph=$2 features=$3 model=${4:-$exp/$1} test_set process scoring=()
  estimate_transforms "$system" "$model" "$graph${dev_lm_text:+_dev}" dev
  steps/search_scales.py --config "$(settings decode.yaml)" --executor "$executor" \
    ${transforms:+--transforms "$transforms"} \
    "$graph${dev_lm_text:+_dev}" "$(features_of dev "$features")" "$model" "$exp/$system/decode_dev"
  for test_set in $test_sets; do
    estimate_transforms "$system" "$model" "$graph" "$test_set"
    steps/decode.py --config "$(settings decode.yaml)" --executor "$executor" \
      --scales "$exp/$system/decode_dev/best_scale.json" ${transforms:+--transforms "$transforms"} \
      "$graph" "$(features_of "$test_set" "$features")" "$model" "$exp/$system/decode_$test_set"
    steps/score.py --seed "$seed" "$(features_of "$test_set" "$features")" \
      "$exp/$system/decode_$test_set" "$exp/$system/score_$test_set" &
    scoring+=($!)
  done
  for process in "${scoring[@]}"; do wait "$process"; done
}

# estimate_transforms SYSTEM MODEL GRAPH SET: sets $transforms, if the model is a speaker-adapted GMM.
estimate_transforms() {
  transforms=
  [ -d "$2/speaker_independent" ] || return 0
  transforms=$exp/$1/transforms_$4
  steps/estimate_fmllr.py --config "$(settings fmllr.yaml)" --executor "$executor" \
    "$3" "$data/$4/mfcc" "$2" "$transforms"
}

# features_of SET FEATURES: their folder; those adapted to speakers belong to a GMM.
features_of() {
  if [ "$2" = fmllr ]; then echo "$exp/fmllr/$1"; else echo "$data/$1/$2"; fi
}

# adapt_features SET GRAPH: what the speaker-adapted GMM sees of a set.
adapt_features() {
  local transforms
  estimate_transforms tri3 "$exp/tri3" "$2" "$1"
  steps/make_fmllr_features.py --executor "$executor" \
    "$data/$1/mfcc" "$exp/tri3" "$transforms" "$(features_of "$1" fmllr)"
}

# adapt_all_features: of all that the teacher is trained on, tested on and labels.  A given language
# model may have seen what dev and the unlabelled speakers say.
adapt_all_features() {
  local set graph=$exp/graph_tri3
  steps/make_fmllr_features.py --executor "$executor" \
    "$data/labeled/mfcc" "$exp/tri3" "$exp/tri3_ali" "$(features_of labeled fmllr)"
  for set in dev "$teacher_speech"; do adapt_features "$set" "$graph${dev_lm_text:+_dev}"; done
  for set in $test_sets; do adapt_features "$set" "$graph"; done
}

run_recipe_stages() {
  local set teacher=teacher_ce
  if [ "$smbr" = true ]; then teacher=teacher_smbr; fi

  if begin_stage 1 "lexicon, phones, language model"; then
    utils/prepare_lang.py --config "$(settings lang.yaml)" "$lexicon" "$lang"
    if [ -z "$arpa" ]; then
      arpa=$data/local/lm.arpa
      utils/train_ngram.py --order "$lm_order" ${lm_cutoffs:+--cutoffs "$lm_cutoffs"} \
        --vocabulary "$lang/words.txt" "$lm_text" "$arpa"
    fi
    utils/format_lm.py "$lang" "$arpa" "${lang}_test"
    if [ -n "$dev_lm_text" ]; then
      utils/train_ngram.py --order "$lm_order" --vocabulary "$lang/words.txt" \
        "$dev_lm_text" "$data/local/lm_dev.arpa"
      utils/format_lm.py "$lang" "$data/local/lm_dev.arpa" "${lang}_dev"
    fi
  fi

  if begin_stage 2 "features: LFBE for the networks, MFCC for the GMMs"; then
    local sets="labeled unlabeled dev $test_sets"
    if [ "$teacher_speech" != unlabeled ]; then sets="$sets $teacher_speech"; fi
    for set in $sets; do
      steps/make_features.py --kind lfbe --config "$(settings lfbe.yaml)" --executor "$executor" \
        "$data/$set" "$data/$set/lfbe"
    done
    sets="labeled dev $test_sets"
    if [ "$teacher_features" = fmllr ]; then sets="$sets $teacher_speech"; fi
    for set in $sets; do
      steps/make_features.py --kind mfcc --config "$(settings mfcc.yaml)" --executor "$executor" \
        "$data/$set" "$data/$set/mfcc"
    done
  fi

  run_gmm_stages

  if begin_stage 7 "teacher, cross-entropy"; then
    if [ "$teacher_features" = fmllr ]; then adapt_all_features; fi
    train_cross_entropy teacher_ce teacher.yaml "$teacher_features"
  fi

  if [ "$smbr" = true ] && begin_stage 8 "denominator lattices; teacher, sMBR"; then
    utils/train_ngram.py --order 1 --vocabulary "$lang/words.txt" "$lm_text" "$data/local/lm_weak.arpa"
    utils/format_lm.py "$lang" "$data/local/lm_weak.arpa" "${lang}_weak"
    utils/mkgraph.py --self-loop-scale 1.0 "${lang}_weak" "$exp/senones" "$exp/graph_weak"
    train_smbr teacher_ce teacher_smbr "$teacher_features"
  fi

  if begin_stage 9 "decoding with the teacher"; then
    decode_system teacher_ce "$exp/graph_senones" "$teacher_features"
    if [ "$smbr" = true ]; then
      decode_system teacher_smbr "$exp/graph_senones" "$teacher_features"
    fi
  fi

  if begin_stage 10 "soft labels of the unlabelled speech"; then
    dump_soft_labels "$top_k" "$teacher" "$data/unlabeled/soft_labels"
  fi

  if begin_stage 11 "baseline: the student on labelled speech alone"; then
    train_cross_entropy student_supervised student.yaml lfbe
  fi

  if begin_stage 12 "student, scheduled learning (and segregated, to compare)"; then
    start train_student student_segregated segregated
    start train_student student_ce interleaved
    finish
  fi

  if [ "$smbr" = true ] && begin_stage 13 "students, sMBR on the labelled speech"; then
    start train_smbr student_supervised student_supervised_smbr lfbe
    start train_smbr student_ce student_smbr lfbe
    finish
  fi

  if begin_stage 14 "decoding and scoring, the table"; then
    decode_system tri2 "$exp/graph_tri2" mfcc
    if [ "$sat" = true ]; then decode_system tri3 "$exp/graph_tri3" mfcc; fi
    for set in student_supervised student_segregated student_ce; do
      decode_system "$set" "$exp/graph_senones" lfbe
    done
    if [ "$smbr" = true ]; then
      decode_system student_supervised_smbr "$exp/graph_senones" lfbe
      decode_system student_smbr "$exp/graph_senones" lfbe
    fi
    end_stage
    write_results
  fi
  end_stage
}

# run_gmm_stages: 3 to 6.
run_gmm_stages() {
  local gmm=tri2 where=(--executor "$executor" --device "$device")
  if [ "$sat" = true ]; then gmm=tri3; fi

  if begin_stage 3 "GMM-HMM: monophones"; then
    steps/train_mono.py --config "$(settings mono.yaml)" --seed "$seed" "${where[@]}" \
      "$data/labeled/mfcc" "$lang" "$exp/mono"
    steps/align.py "${where[@]}" "$data/labeled/mfcc" "$lang" "$exp/mono" "$exp/mono_ali"
  fi

  if begin_stage 4 "GMM-HMM: triphones on deltas"; then
    steps/train_deltas.py --config "$(settings tri1.yaml)" --seed "$seed" "${where[@]}" \
      "$data/labeled/mfcc" "$lang" "$exp/mono_ali" "$exp/tri1"
    steps/align.py "${where[@]}" "$data/labeled/mfcc" "$lang" "$exp/tri1" "$exp/tri1_ali"
  fi

  if begin_stage 5 "GMM-HMM: triphones on LDA+MLLT, adapted to speakers"; then
    steps/train_lda_mllt.py --config "$(settings tri2.yaml)" --seed "$seed" "${where[@]}" \
      "$data/labeled/mfcc" "$lang" "$exp/tri1_ali" "$exp/tri2"
    steps/align.py "${where[@]}" "$data/labeled/mfcc" "$lang" "$exp/tri2" "$exp/tri2_ali"
    if [ "$sat" = true ]; then
      steps/train_sat.py --config "$(settings tri3.yaml)" --seed "$seed" "${where[@]}" \
        "$data/labeled/mfcc" "$lang" "$exp/tri2" "$exp/tri2_ali" "$exp/tri3"
      steps/align_fmllr.py "${where[@]}" "$data/labeled/mfcc" "$lang" "$exp/tri3" \
        "$exp/tri3_ali"
      steps/align_fmllr.py "${where[@]}" "$data/dev/mfcc" "$lang" "$exp/tri3" \
        "$exp/tri3_ali_dev"
    else
      steps/align.py "${where[@]}" "$data/dev/mfcc" "$lang" "$exp/tri2" \
        "$exp/tri2_ali_dev"
    fi
  fi

  if begin_stage 6 "senones at the low frame rate, decoding graphs"; then
    steps/cluster_senones.py --config "$(settings senones.yaml)" --executor "$executor" \
      "$data/labeled/mfcc" "$lang" "$exp/$gmm" "$exp/${gmm}_ali" "$exp/senones"
    steps/make_senone_labels.py "$exp/${gmm}_ali" "$exp/senones" "$exp/senone_labels/labeled"
    steps/make_senone_labels.py "$exp/${gmm}_ali_dev" "$exp/senones" "$exp/senone_labels/dev"
    make_graphs "${lang}_test" ""
    if [ -n "$dev_lm_text" ]; then make_graphs "${lang}_dev" _dev; fi
  fi
}

# make_graphs LANG SUFFIX
make_graphs() {
  utils/mkgraph.py "$1" "$exp/tri2" "$exp/graph_tri2$2"
  if [ "$sat" = true ]; then utils/mkgraph.py "$1" "$exp/tri3" "$exp/graph_tri3$2"; fi
  utils/mkgraph.py --self-loop-scale 1.0 "$1" "$exp/senones" "$exp/graph_senones$2"
}

# train_cross_entropy NAME SETTINGS FEATURES: a network on the labelled speech.
train_cross_entropy() {
  local options=()
  # Adapted features are no mel energies, and their mean is already that of the speaker.
  if [ "$3" = fmllr ]; then
    options+=(--set trainer.max_frequency_warp=0 --set trainer.noise_mixing.probability=0
      --set front_end.prior_frames=1000000)
  fi
  train_network train_ce.py --config "$(settings "$2")" --set "trainer.seed=$seed" \
    ${options[@]+"${options[@]}"} \
    "$(features_of labeled "$3")" "$(features_of dev "$3")" \
    "$exp/senones" "$exp/senone_labels" "$exp/$1"
}

# dump_soft_labels K SYSTEM OUTPUT OPTION ...
dump_soft_labels() {
  steps/dump_soft_labels.py --top-k "$1" --executor "$executor" --device "$device" "${@:4}" \
    "$(features_of "$teacher_speech" "$teacher_features")" "$exp/$2" "$3"
}

# train_student NAME SCHEDULE
train_student() {
  train_network train_student.py --config "$(settings student_scheduled.yaml)" \
    --set "schedule.schedule=$2" --set "trainer.seed=$seed" \
    "$data/labeled/lfbe" "$data/unlabeled/lfbe" "$data/dev/lfbe" \
    "$exp/senones" "$exp/senone_labels" "$data/unlabeled/soft_labels" "$exp/$1"
}

# train_smbr CROSS_ENTROPY_SYSTEM NAME FEATURES
train_smbr() {
  steps/make_denominator_lattices.py --config "$(settings denominator.yaml)" --executor "$executor" \
    --device "$device" "$exp/graph_weak" "$(features_of labeled "$3")" "$exp/$1" "$exp/$1_lattices"
  train_network train_smbr.py --config "$(settings smbr.yaml)" --seed "$seed" \
    "$(features_of labeled "$3")" "$(features_of dev "$3")" "$exp/senones" "$exp/senone_labels" \
    "$exp/$1" "$exp/$1_lattices" "$exp/$2"
}

write_results() {
  local compared=(--system "GMM tri2=$exp/tri2")
  if [ "$sat" = true ]; then compared+=(--system "GMM tri3, speaker-adapted=$exp/tri3"); fi
  compared+=(--system "teacher=$exp/teacher_ce"
    --system "student, labelled alone=$exp/student_supervised"
    --system "student, segregated=$exp/student_segregated"
    --system "student, scheduled=$exp/student_ce")
  if [ "$smbr" = true ]; then
    compared+=(--system "teacher, sMBR=$exp/teacher_smbr"
      --system "student, labelled alone, sMBR=$exp/student_supervised_smbr"
      --system "student, scheduled, sMBR=$exp/student_smbr")
  fi
  compared+=(--baseline "student, labelled alone" --test-sets "$test_sets"
    --timings "$timings" --seed "$seed")
  utils/results.py "${compared[@]}" "$exp/RESULTS.md"
  utils/report.py "${compared[@]}" --exp "$exp" --data "$data" "$exp/report.html"
}
