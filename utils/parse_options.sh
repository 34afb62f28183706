# Sourced by run.sh after its settings: turns every variable set so far into an option.
#   some_setting=3            becomes            --some-setting 3
# --help prints the comment at the head of the calling script.

while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      sed -n '2,/^[^#]/{ s/^# \{0,1\}//p }' "$0"
      exit 0
      ;;
    --*)
      option_name=${1#--}
      option_name=${option_name//-/_}
      if [ -z "${!option_name+set}" ]; then
        echo "$0: no such option: $1 (--help shows them)" >&2
        exit 1
      fi
      if [ $# -lt 2 ]; then
        echo "$0: $1 needs a value" >&2
        exit 1
      fi
      printf -v "$option_name" '%s' "$2"
      shift 2
      ;;
    *)
      echo "$0: unexpected argument: $1 (options are given as --name value)" >&2
      exit 1
      ;;
  esac
done
unset option_name
