#!/bin/sh
# A mixed day, for a long time: memory that creeps up and connections that get lost show then. A day, unless -t says
# otherwise; the rest is as with capacity-run.sh.
set -eu
exec "$(dirname "$0")/capacity-run.sh" -s mixed -t 24h "$@" --deadline 25h
