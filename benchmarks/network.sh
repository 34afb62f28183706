#!/usr/bin/env bash
# Frames a second of ddp, gtc and bmuf over slow links, beside what the model of am/scale/ predicts.
#
# Each rank runs in a network namespace of its own, joined to the others by a switch (a bridge in
# another namespace) whose links are throttled with tc in both directions.  Nothing of the machine's
# own network is touched.  Needs root, iproute2, and a kernel with veth, bridges and tbf.
#
#   benchmarks/network.sh --config conf/paper/student.yaml --figures exp/network.yaml
#
# Options, as --name "value":
#   --ranks          how many train together; 1 and 2 are needed for the model
#   --rates          of the links, as tc writes them
#   --methods        ddp is needed for the model
#   --config         whose section lstm is the network
#   --parameters     other numbers of cells, so that there are about so many; 0: as in the config
#   --senones        its outputs
#   --batch-seconds  speech in a batch of each rank
#   --updates        timed, after one that is not; of bmuf blocks
#   --sync-interval  batches in a block of bmuf
#   --density        of gtc
#   --compute        pause: sleep as long as a rank alone computes a batch; real; or auto: pause
#                    where ranks outnumber cores
#   --figures        file for utils/plan_scale.py --measured; empty: none
ranks="1 2 4"
rates="10gbit 1gbit 100mbit"
methods="ddp gtc bmuf"
config=conf/paper/student.yaml
parameters=0
senones=3183
batch_seconds=20
updates=3
sync_interval=10
density=0.005
compute=auto
figures=
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="benchmarks/network.sh$([ $# = 0 ] || printf ' %q' "$@")"
. utils/parse_options.sh

stop() {
  echo "benchmarks/network.sh: $1" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || stop "network namespaces need root; run it with sudo"
for tool in ip tc; do
  command -v "$tool" >/dev/null || stop "$tool: not found; install iproute2"
done

[[ "$ranks" =~ ^[1-9][0-9]*(\ [1-9][0-9]*)*$ ]] || stop "--ranks '$ranks': give numbers above 0"

name=megahour$$
most=$(printf '%s\n' $ranks | sort -n | tail -1)
clean_up() {
  local rank
  # The links vanish with their ends.
  for ((rank = 0; rank < most; rank++)); do ip netns del "$name-$rank" 2>/dev/null || true; done
  ip netns del "$name-switch" 2>/dev/null || true
}
worker=
trap clean_up EXIT
trap '[ -z "$worker" ] || { kill "$worker"; wait "$worker" || true; }; exit 130' INT TERM

make_rank() {
  ip netns add "$name-$1" &&
    ip -n "$name-$1" link set lo up &&
    ip -n "$name-$1" link add link0 type veth peer name "port$1" netns "$name-switch" &&
    ip -n "$name-$1" addr add "10.77.0.$(($1 + 1))/24" dev link0 &&
    ip -n "$name-$1" link set link0 up &&
    ip -n "$name-switch" link set "port$1" master switch up
}
make_network() {
  local rank
  ip netns add "$name-switch" &&
    ip -n "$name-switch" link add switch type bridge &&
    ip -n "$name-switch" link set switch up || return 1
  for ((rank = 0; rank < most; rank++)); do make_rank "$rank" || return 1; done
}
told=$(make_network 2>&1) || stop "network namespaces cannot be made here: ${told:-no reason given}"

. ./path.sh
python3 benchmarks/network.py --namespace "$name" --command "$command" --ranks $ranks --rates $rates \
  --methods $methods --config "$config" --parameters "$parameters" --senones "$senones" \
  --batch-seconds "$batch_seconds" --updates "$updates" --sync-interval "$sync_interval" \
  --density "$density" --compute "$compute" ${figures:+--figures "$figures"} &
worker=$!
# A shell that waits for a background process hears signals at once.
wait "$worker"
