#!/bin/sh
# Installs the files of a directory of tuning/ on this host, and keeps what was there before for revert-tuning.sh. Without
# --yes it says what it would do, and does nothing.
set -eu

usage() {
    cat <<END
usage: apply-tuning.sh [-n | --yes] [--root ROOT] DIR
  DIR          tuning/1k, 10k or 50k, or what podium capacity plan --write-tuning has written
  -n           says what it would do; the default
  --yes        does it
  --root ROOT  where the host's / is
END
}

dry=yes
root=
dir=
while [ $# -gt 0 ]; do
    case "$1" in
        -n) dry=yes ;;
        --yes) dry=no ;;
        --root) root=${2:?"--root needs a directory"}; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "apply-tuning.sh: $1 is not known" >&2; usage >&2; exit 2 ;;
        *) [ -z "$dir" ] || { echo "apply-tuning.sh: one directory only" >&2; exit 2; }; dir=$1 ;;
    esac
    shift
done
[ -n "$dir" ] || { usage >&2; exit 2; }
if [ ! -f "$dir/sysctl.d/60-podium.conf" ]; then
    echo "apply-tuning.sh: $dir has no sysctl.d/60-podium.conf; give tuning/1k, 10k, 50k or a directory like these" >&2
    exit 1
fi

state=$root/var/lib/podium-tuning

run() {
    if [ "$dry" = yes ]; then echo "$*"; else "$@"; fi
}

# Keeps a file as it was before the first time, or remembers that there was none.
keep() {
    [ ! -e "$state/before$1" ] && [ ! -e "$state/absent$1" ] || return 0
    if [ -e "$root$1" ]; then
        run mkdir -p "$state/before$(dirname "$1")"
        run cp -p "$root$1" "$state/before$1"
    else
        run mkdir -p "$state/absent$(dirname "$1")"
        run touch "$state/absent$1"
    fi
}

install_file() {
    [ -f "$dir/$1" ] || return 0
    keep "$2"
    run mkdir -p "$root$(dirname "$2")"
    run cp "$dir/$1" "$root$2"
    run chmod 0644 "$root$2"
}

# Values of the kernel as they were before the first time.
if [ ! -e "$state/sysctl" ]; then
    values=
    for key in $(sed -n 's/^-\{0,1\}\([a-z][a-z0-9_.]*\) *=.*/\1/p' "$dir/sysctl.d/60-podium.conf"); do
        value=$(sysctl -n "$key" 2> /dev/null) || continue
        values="$values$key=$(echo "$value" | tr '\t' ' ')
"
    done
    if [ "$dry" = yes ]; then
        echo "keep in $state/sysctl: $(printf '%s' "$values" | tr '\n' ' ')"
    else
        mkdir -p "$state"
        printf '%s' "$values" > "$state/sysctl"
    fi
fi

install_file sysctl.d/60-podium.conf /etc/sysctl.d/60-podium.conf
install_file limits.d/podium.conf /etc/security/limits.d/podium.conf
for unit in podium-server podium-broker; do
    drop_in=$unit.service.d/50-capacity.conf
    install_file "systemd/$drop_in" "/etc/systemd/system/$drop_in"
done

# Keys that this kernel does not have are passed over; the check below finds what matters.
run sysctl -p "$root/etc/sysctl.d/60-podium.conf" || echo "apply-tuning.sh: not every key was taken" >&2
if command -v systemctl > /dev/null && [ -d "$root/run/systemd/system" ]; then run systemctl daemon-reload; fi

if [ "$dry" = yes ]; then
    echo "nothing was done; --yes does it"
else
    echo "done; restart the service, look with: podium capacity check. $dir/nic.sh INTERFACE is for the network card."
fi
