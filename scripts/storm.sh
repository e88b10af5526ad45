#!/bin/sh
# All agents come back at once: how long it takes, and what the broker's memory is before and after. The arguments are those
# of capacity-run.sh.
set -eu
exec "$(dirname "$0")/capacity-run.sh" -s storm "$@"
