#!/bin/sh
# Takes back what apply-tuning.sh has done: files and values of the kernel are what they were before the first time. Without
# --yes it says what it would do, and does nothing.
set -eu

usage() {
    cat <<END
usage: revert-tuning.sh [-n | --yes] [--root ROOT]
  -n           says what it would do; the default
  --yes        does it
  --root ROOT  where the host's / is
END
}

dry=yes
root=
while [ $# -gt 0 ]; do
    case "$1" in
        -n) dry=yes ;;
        --yes) dry=no ;;
        --root) root=${2:?"--root needs a directory"}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) echo "revert-tuning.sh: $1 is not known" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

state=$root/var/lib/podium-tuning
if [ ! -d "$state" ]; then
    echo "revert-tuning.sh: there is no $state: apply-tuning.sh has done nothing here" >&2
    exit 1
fi

run() {
    if [ "$dry" = yes ]; then echo "$*"; else "$@"; fi
}

# The names below a directory, one a line, with a slash in front.
names() {
    [ ! -d "$1" ] || (cd "$1" && find . -type f | sed 's/^\.//')
}

names "$state/absent" | while IFS= read -r name; do run rm -f "$root$name"; done
names "$state/before" | while IFS= read -r name; do run cp -p "$state/before$name" "$root$name"; done
if [ -f "$state/sysctl" ]; then
    while IFS= read -r value; do
        run sysctl -w "$value" || echo "revert-tuning.sh: the kernel does not take $value" >&2
    done < "$state/sysctl"
fi
if command -v systemctl > /dev/null && [ -d "$root/run/systemd/system" ]; then run systemctl daemon-reload; fi
run rm -r "$state"
if [ "$dry" = yes ]; then echo "nothing was done; --yes does it"; else echo "done; restart the service for its old limits"; fi
