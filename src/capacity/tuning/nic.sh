#!/bin/sh
@HEADING@
# Makes a network card ready for a storm of connections: the longest rings, a queue for each core, and where the card has
# one queue only, the work of receiving spread over the cores. What a card cannot do stays as it is. Lasts until the next
# boot.
set -eu

usage() {
    echo "usage: nic.sh [-n] INTERFACE"
    echo "  -n  prints what it would do, and does nothing"
}

dry=no
case "${1:-}" in
    -n) dry=yes; shift ;;
    -h | --help) usage; exit 0 ;;
esac
if [ $# -ne 1 ]; then
    usage >&2
    exit 2
fi
interface=$1
queues=/sys/class/net/$interface/queues
if [ ! -d "$queues" ]; then
    echo "nic.sh: there is no interface $interface; ip link shows those there are" >&2
    exit 1
fi

# Runs a command, or prints it. A card that refuses is no reason to stop.
run() {
    if [ "$dry" = yes ]; then
        echo "$*"
    else
        "$@" || echo "nic.sh: $interface does not take this: $*" >&2
    fi
}

# Writes a value into a file of the kernel.
put() {
    if [ "$dry" = yes ]; then
        echo "echo $1 > $2"
    else
        echo "$1" > "$2" || echo "nic.sh: $2 does not take $1" >&2
    fi
}

# The first number after a word in the first part of ethtool's answer: what the card can do at most.
most() {
    awk -v word="$1" '/Current/ { exit } $1 == word { print $2; exit }' | grep -E '^[0-9]+$' || true
}

cores=$(getconf _NPROCESSORS_ONLN)
if command -v ethtool > /dev/null; then
    rings=$(ethtool -g "$interface" 2> /dev/null || true)
    for side in RX TX; do
        size=$(echo "$rings" | most "$side:")
        name=$(echo "$side" | tr '[:upper:]' '[:lower:]')
        if [ -n "$size" ]; then run ethtool -G "$interface" "$name" "$size"; fi
    done
    channels=$(ethtool -l "$interface" 2> /dev/null | most "Combined:")
    if [ -n "$channels" ] && [ "$channels" -gt 1 ]; then
        if [ "$channels" -gt "$cores" ]; then channels=$cores; fi
        run ethtool -L "$interface" combined "$channels"
    fi
else
    echo "nic.sh: ethtool is missing; rings and queues stay as they are" >&2
fi

# One queue only: all cores take part, and a connection stays with the core that reads it.
set -- "$queues"/rx-*
if [ $# -eq 1 ] && [ "$cores" -gt 1 ] && [ "$cores" -le 32 ]; then
    put "$(printf '%x' $(((1 << cores) - 1)))" "$1/rps_cpus"
    put @FLOWS@ /proc/sys/net/core/rps_sock_flow_entries
    put @FLOWS@ "$1/rps_flow_cnt"
fi
