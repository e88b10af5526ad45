#!/bin/sh
# The same scenario against two PCP brokers, one after the other, so that their results can be laid side by side: ours and
# another version, or a pcp-broker. Everything after -- goes to podium capacity load both times.
set -eu

usage() {
    cat <<END
usage: compare-peer.sh [-n] [-p PODIUM] [-o DIR] SCENARIO AGENTS OURS PEER -- ARGUMENTS OF podium capacity load
  OURS, PEER  HOST:PORT, and after a slash the broker's process on this host, if its memory is to be seen: localhost:8142/1234
  -n          says what it would do, and does nothing
  -p PODIUM   the program; podium if not given
  -o DIR      where the results go, in ours/ and peer/; compare-SCENARIO-AGENTS if not given
END
}

dry=no
podium=podium
output=
while [ $# -gt 0 ]; do
    case "$1" in
        -n) dry=yes ;;
        -p) podium=${2:?"-p needs a program"}; shift ;;
        -o) output=${2:?"-o needs a directory"}; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "compare-peer.sh: $1 is not known" >&2; usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
[ $# -ge 4 ] || { usage >&2; exit 2; }
scenario=$1
agents=$2
ours=$3
peer=$4
shift 4
[ "${1:-}" != -- ] || shift
output=${output:-compare-$scenario-$agents}

# One broker: its name in the results, its address and process, the arguments.
one() {
    name=$1
    address=${2%%/*}
    process=${2#"$address"}
    process=${process#/}
    shift 2
    if [ -n "$process" ]; then set -- --watch-pid "$process" "$@"; fi
    set -- "$podium" capacity load "$scenario" --broker "$address" --connections "$agents" --output "$output/$name" "$@"
    if [ "$dry" = yes ]; then
        echo "$*"
    else
        mkdir -p "$output/$name"
        "$@"
    fi
}

one ours "$ours" "$@"
one peer "$peer" "$@"
if [ "$dry" = no ]; then echo "reports: $output/ours/report.html $output/peer/report.html"; fi
