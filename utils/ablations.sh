# Sourced by local/run_ablations.sh after utils/recipe.sh: the same ablations for every corpus.
#
# local/run_ablations.sh sets, besides what utils/recipe.sh wants:
#   rows      rows of the table, separated by spaces; empty for all
#   seeds     seeds of the rows that carry a claim; the first one is that of the other rows
#
# Rows:
#   supervised              the student on labelled speech alone
#   hard_labels             scheduled, with the senones of the teacher's best paths as labels
#   segregated              soft labels, all unlabelled speech first
#   interleaved             soft labels, interleaved, one learning rate for all
#   scheduled               soft labels, interleaved, the learning rate's factor as in the settings
#   supervised_smbr, scheduled_smbr     sMBR after it
#   teacher, teacher_smbr   the teacher, from the recipe's seed alone
#   unlabeled_N_M           scheduled, N/M of the unlabelled speech
#   top_k_N, top_k_all      scheduled, N logits a frame, or those of all senones
#   confidence, entropy     scheduled, frames of which the teacher is surer count more
#   same_noise              scheduled, the teacher hears what the student hears, where the recipe has it
#                           hear clean copies
#   noisy_student           scheduled, the student hears much more noise than the teacher did
#   ensemble                scheduled, the averaged logits of two teachers
#   iterated                scheduled, the recipe's last student is the teacher
#
# The recipe's own systems stand for their rows at the recipe's seed; they are only read.

work=$exp/ablations
rows_with_seeds="supervised hard_labels segregated interleaved scheduled supervised_smbr scheduled_smbr"
all_rows="$rows_with_seeds teacher teacher_smbr
  unlabeled_1_8 unlabeled_1_4 unlabeled_1_2 top_k_1 top_k_5 top_k_10 top_k_40 top_k_all
  same_noise confidence entropy noisy_student ensemble iterated"

# recipe_system ROW: the recipe's own system of a row, or nothing.
recipe_system() {
  case $1 in
    supervised) echo student_supervised ;;
    supervised_smbr) echo student_supervised_smbr ;;
    segregated) echo student_segregated ;;
    scheduled) echo student_ce ;;
    scheduled_smbr) echo student_smbr ;;
    teacher) echo teacher_ce ;;
    teacher_smbr) echo teacher_smbr ;;
  esac
}

# system_of ROW SEED: where its model is, under $exp.
system_of() {
  local own
  own=$(recipe_system "$1")
  if [ -n "$own" ] && [ "$2" = "$seed" ]; then echo "$own"; else echo "ablations/$1/seed_$2"; fi
}

# seeds_of ROW
seeds_of() {
  case $1 in
    teacher | teacher_smbr) echo "$seed" ;;
    *)
      case " $rows_with_seeds " in
        *" $1 "*) echo "$seeds" ;;
        *) echo "${seeds%% *}" ;;
      esac
      ;;
  esac
}

# title_of ROW: as the table calls it.
title_of() {
  case $1 in
    supervised) echo "student, labelled alone" ;;
    hard_labels) echo "student, hard labels" ;;
    segregated) echo "student, segregated" ;;
    interleaved) echo "student, interleaved at one rate" ;;
    scheduled) echo "student, scheduled" ;;
    supervised_smbr) echo "student, labelled alone, sMBR" ;;
    scheduled_smbr) echo "student, scheduled, sMBR" ;;
    teacher) echo "teacher" ;;
    teacher_smbr) echo "teacher, sMBR" ;;
    unlabeled_*) echo "student, scheduled, $(share_of "$1") of the unlabelled speech" ;;
    top_k_*) echo "student, scheduled, k = ${1#top_k_}" ;;
    confidence | entropy) echo "student, scheduled, frames weighted by $1" ;;
    same_noise) echo "student, scheduled, teacher hears the noise" ;;
    noisy_student) echo "student, scheduled, much noise" ;;
    ensemble) echo "student, scheduled, two teachers" ;;
    iterated) echo "student, scheduled, taught by the student" ;;
  esac
}

# share_of ROW: unlabeled_1_8 has 1/8.
share_of() {
  local share=${1#unlabeled_}
  echo "${share/_//}"
}

# curves_of ROW: the curves that it is a point of.
curves_of() {
  case $1 in
    supervised | unlabeled_*) echo hours ;;
    scheduled) echo hours,top_k ;;
    top_k_*) echo top_k ;;
    *) echo - ;;
  esac
}

# unlabeled_of ROW, labels_of ROW: its unlabelled speech and the labels of that; - without.
unlabeled_of() {
  case $1 in
    supervised* | teacher*) echo - ;;
    unlabeled_*) echo "$work/$1/lfbe" ;;
    *) echo "$data/unlabeled/lfbe" ;;
  esac
}
labels_of() {
  case $1 in
    supervised* | teacher*) echo - ;;
    hard_labels) echo "$work/pseudo_labels" ;;
    top_k_"$top_k") echo "$data/unlabeled/soft_labels" ;;
    top_k_*) echo "$work/soft_labels_${1#top_k_}" ;;
    same_noise | ensemble | iterated) echo "$work/soft_labels_$1" ;;
    *) echo "$data/unlabeled/soft_labels" ;;
  esac
}

# check_rows: takes the default rows, and stops at an unknown row or where the recipe is unfinished.
check_rows() {
  local row own
  teacher=teacher_ce last_student=student_ce
  if [ -d "$exp/teacher_smbr" ]; then teacher=teacher_smbr last_student=student_smbr; fi
  if [ -z "$rows" ]; then
    for row in $all_rows; do
      if [ "$teacher" = teacher_ce ] && [ "${row%_smbr}" != "$row" ]; then continue; fi
      if [ "$row" = same_noise ] &&
        { [ "$teacher_speech" = unlabeled ] || [ "$teacher_features" != lfbe ]; }; then continue; fi
      rows="$rows $row"
    done
  fi
  for row in $rows; do
    if [ -z "$(title_of "$row")" ]; then
      echo "$0: --rows $row: no such row; there are $(echo $all_rows)" >&2
      exit 1
    fi
    own=$(recipe_system "$row")
    if [ -n "$own" ] && [ ! -d "$exp/$own" ]; then
      echo "$0: $exp/$own: no such folder; run the recipe with the same --exp first" >&2
      exit 1
    fi
  done
}

# beside_others: where the data-parallel steps of one of several trainings work.
beside_others() {
  case $executor in
    local:*) echo local:1 ;;
    *) echo "$executor" ;;
  esac
}

# make_labels ROW: the speech and the labels that it needs and the recipe does not make; beside
# others.
make_labels() {
  local executor="$(beside_others)"
  local -x OMP_NUM_THREADS=1
  case $1 in
    hard_labels)
      steps/make_pseudo_labels.py --config "$(settings decode.yaml)" --executor "$executor" \
        --device "$device" --scales "$exp/$teacher/decode_dev/best_scale.json" \
        "$exp/graph_senones" "$(features_of "$teacher_speech" "$teacher_features")" "$exp/$teacher" \
        "$(labels_of "$1")"
      ;;
    unlabeled_*)
      utils/subset_data.py --share "$(share_of "$1")" --seed "$seed" \
        "$data/unlabeled/lfbe" "$(unlabeled_of "$1")"
      ;;
    top_k_"$top_k") ;;
    top_k_*) dump_soft_labels "${1#top_k_}" "$teacher" "$(labels_of "$1")" ;;
    same_noise)
      local teacher_speech=unlabeled
      dump_soft_labels "$top_k" "$teacher" "$(labels_of "$1")"
      ;;
    ensemble)
      train_another_teacher
      dump_soft_labels "$top_k" "$teacher" "$(labels_of "$1")" \
        --another-teacher "$work/another_$teacher"
      ;;
    iterated)
      local teacher_features=lfbe
      dump_soft_labels "$top_k" "$last_student" "$(labels_of "$1")"
      ;;
  esac
}

# train_another_teacher: as the recipe's, from the next seed.
train_another_teacher() {
  local seed=$((seed + 1))
  train_cross_entropy ablations/another_teacher_ce teacher.yaml "$teacher_features"
  if [ "$teacher" = teacher_smbr ]; then
    train_smbr ablations/another_teacher_ce ablations/another_teacher_smbr "$teacher_features"
  fi
}

# train_row ROW SEED: cross-entropy
train_row() {
  local options=(--set "trainer.seed=$2") system
  system=$(system_of "$1" "$2")
  case $1 in
    supervised)
      local seed=$2
      train_cross_entropy "$system" student.yaml lfbe
      return
      ;;
    segregated) options+=(--set schedule.schedule=segregated) ;;
    interleaved)
      options+=(--set schedule.schedule=interleaved --set schedule.labeled_learning_rate_factor=1)
      ;;
    *) options+=(--set schedule.schedule=interleaved) ;;
  esac
  case $1 in
    confidence | entropy) options+=(--set "trainer.soft_label_weighting=$1") ;;
    noisy_student)
      options+=(--set trainer.noise_mixing.probability=0.7
        --set trainer.noise_mixing.lowest_snr_db=-5 --set trainer.noise_mixing.highest_snr_db=20)
      ;;
  esac
  train_network train_student.py --config "$(settings student_scheduled.yaml)" "${options[@]}" \
    "$data/labeled/lfbe" "$(unlabeled_of "$1")" "$data/dev/lfbe" \
    "$exp/senones" "$exp/senone_labels" "$(labels_of "$1")" "$exp/$system"
}

# train_row_smbr ROW SEED: after its cross-entropy training; beside others.
train_row_smbr() {
  local before after
  before=$(system_of "${1%_smbr}" "$2")
  after=$(system_of "$1" "$2")
  local executor="$(beside_others)" seed=$2
  train_smbr "$before" "$after" lfbe
}

# missing_seeds ROW: the seeds of a row that the recipe has not trained.
missing_seeds() {
  local one
  for one in $(seeds_of "$1"); do
    case $(system_of "$1" "$one") in
      ablations/*) echo "$one" ;;
    esac
  done
}

run_ablations() {
  local row one against=()
  check_rows
  mkdir -p "$work"

  if begin_stage 0 "labels and parts of the unlabelled speech"; then
    for row in $rows; do start make_labels "$row"; done
    finish
  fi

  if begin_stage 1 "students, cross-entropy"; then
    for row in $(printf '%s\n' $rows | sed 's/_smbr$//' | awk '!seen[$0]++'); do
      for one in $(missing_seeds "$row"); do start train_row "$row" "$one"; done
    done
    finish
  fi

  if begin_stage 2 "students, sMBR"; then
    for row in $rows; do
      case $row in
        *_smbr) for one in $(missing_seeds "$row"); do start train_row_smbr "$row" "$one"; done ;;
      esac
    done
    finish
  fi

  if begin_stage 3 "decoding and scoring"; then
    for row in $rows; do
      for one in $(missing_seeds "$row"); do
        decode_system "$(system_of "$row" "$one")" "$exp/graph_senones" lfbe
      done
    done
  fi

  if begin_stage 4 "the table"; then
    write_rows >"$work/rows.tsv"
    for row in supervised scheduled supervised_smbr; do
      case " $rows " in
        *" $row "*) against+=(--against "$(title_of "$row")") ;;
      esac
    done
    utils/ablations.py --test-sets "$test_sets" ${against[@]+"${against[@]}"} --seed "$seed" \
      "$work/rows.tsv" "$work"
  fi
  end_stage
}

# write_rows: the list that utils/ablations.py reads.
write_rows() {
  local row one
  printf 'system\tcurves\tunlabeled\tlabels\tfolder\n'
  for row in $rows; do
    for one in $(seeds_of "$row"); do
      printf '%s\t%s\t%s\t%s\t%s\n' "$(title_of "$row")" "$(curves_of "$row")" \
        "$(unlabeled_of "$row")" "$(labels_of "$row")" "$exp/$(system_of "$row" "$one")"
    done
  done
}
