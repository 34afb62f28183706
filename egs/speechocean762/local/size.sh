# Sourced by run.sh and local/run_ablations.sh: the folders of a --size, where none were given.

case $size in
  default) conf=${conf:-conf} data=${data:-data} exp=${exp:-exp} ;;
  tiny) conf=${conf:-../../conf/tiny} data=${data:-data/tiny} exp=${exp:-exp/tiny} ;;
  *)
    echo "$0: --size is default or tiny, not '$size'" >&2
    exit 1
    ;;
esac
