#!/bin/sh
# A whole run: the plan for so many agents, whether this host is ready for them, and a load scenario, with all results in one
# directory. Everything after -- goes to podium capacity load.
set -eu

usage() {
    cat <<END
usage: $name [-n] [-p PODIUM] [-o DIR] [-s SCENARIO] [-t TIME] AGENTS -- ARGUMENTS OF podium capacity load
  -n           says what it would do, and does nothing
  -p PODIUM    the program; podium if not given
  -o DIR       where the results go; capacity-SCENARIO-AGENTS if not given
  -s SCENARIO  idle, request, fanout, storm, churn, slow or mixed; request if not given
  -t TIME      how long, as in 90s, 10m, 24h
example: $name -s request -t 60s 1000 -- --broker localhost:8142 --ca-dir ssl
END
}

name=$(basename "$0")
dry=no
podium=podium
output=
scenario=request
time=
while [ $# -gt 0 ]; do
    case "$1" in
        -n) dry=yes ;;
        -p) podium=${2:?"-p needs a program"}; shift ;;
        -o) output=${2:?"-o needs a directory"}; shift ;;
        -s) scenario=${2:?"-s needs a scenario"}; shift ;;
        -t) time=${2:?"-t needs a time"}; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "capacity-run.sh: $1 is not known" >&2; usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
[ $# -ge 1 ] && [ "$1" != -- ] || { usage >&2; exit 2; }
agents=$1
shift
[ "${1:-}" != -- ] || shift
output=${output:-capacity-$scenario-$agents}

# Runs a command, or prints it; the first argument is the file for what it prints.
into() {
    file=$1
    shift
    if [ "$dry" = yes ]; then echo "$* > $file"; else "$@" > "$file"; fi
}

if [ "$dry" = no ]; then mkdir -p "$output"; fi
into "$output/plan.txt" "$podium" capacity plan --agents "$agents"
# What the host lacks is part of the result and no reason to stop.
into "$output/check.txt" "$podium" capacity check --agents "$agents" || echo "capacity-run.sh: this host is not ready, see $output/check.txt" >&2
if [ -n "$time" ]; then set -- --duration "$time" "$@"; fi
set -- "$podium" capacity load "$scenario" --connections "$agents" --output "$output" "$@"
if [ "$dry" = yes ]; then echo "$*"; else "$@"; fi
