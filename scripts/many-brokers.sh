#!/bin/sh
# More agents than one process can have, on one machine: a server, several brokers linked to it and a played fleet for each.
# Shows the inventory of all, a task on all, and a task in whose middle a broker is killed. Everything is on the loopback
# interface, in one directory, and ends with the script.
set -eu

usage() {
    cat <<END
usage: $name [-n] [-p PODIUM] [-o DIR] [-b BROKERS] AGENTS
  -n          says what it would do, and does nothing
  -p PODIUM   the program; podium if not given
  -o DIR      new directory for everything; many-brokers-AGENTS if not given
  -b BROKERS  how many brokers; 3 if not given
example: $name -b 3 50000
END
}

name=$(basename "$0")
dry=no
podium=podium
dir=
brokers=3
while [ $# -gt 0 ]; do
    case "$1" in
        -n) dry=yes ;;
        -p) podium=${2:?"-p needs a program"}; shift ;;
        -o) dir=${2:?"-o needs a directory"}; shift ;;
        -b) brokers=${2:?"-b needs a number"}; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "$name: $1 is not known" >&2; usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
[ $# -eq 1 ] || { usage >&2; exit 2; }
agents=$1
each=$(((agents + brokers - 1) / brokers))
agents=$((each * brokers))
dir=${dir:-many-brokers-$agents}
if [ "$dry" = yes ]; then
    echo "in $dir: a server on 18142 and 18143, brokers on 18201 to $((18200 + brokers)), $each agents at each of them"
    exit 0
fi
mkdir "$dir"
dir=$(cd "$dir" && pwd)
pids=
trap 'kill $pids 2>/dev/null || true; wait 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

issue() {
    "$podium" ca issue "$dir/ca" "$1" --dns-alt-names localhost > /dev/null
}

# $1 where, $2 whose certificate
certificates() {
    echo "$1: {
      ssl-cert: \"$dir/ca/certs/$2.pem\", ssl-key: \"$dir/ca/private_keys/$2.pem\"
      ssl-ca-cert: \"$dir/ca/certs/ca.pem\", ssl-crl-path: \"$dir/ca/crl.pem\"
    }"
}

start_broker() {
    "$podium" broker --config "$dir/broker$1" >> "$dir/broker$1.log" 2>&1 &
    pids="$pids $!"
    echo $! > "$dir/broker$1.pid"
}

seconds() { cut -d' ' -f1 /proc/uptime; }
since() { echo "$1 $(seconds)" | awk '{printf "%.1f s", $2 - $1}'; }

# Memory, processor time and descriptors of every process.
figures() {
    for process in server $(seq -f 'broker%.0f' 1 "$brokers"); do
        pid=$(cat "$dir/$process.pid")
        rss=$(awk '/^VmRSS/ {print $2}' "/proc/$pid/status")
        cpu=$(awk -v hz="$(getconf CLK_TCK)" '{printf "%.1f", ($14 + $15) / hz}' "/proc/$pid/stat")
        echo "  $process: $rss KiB resident, $cpu s of CPU, $(ls "/proc/$pid/fd" | wc -l) descriptors"
    done
}

client() {
    subcommand=$1
    shift
    "$podium" "$subcommand" "$@" --service-url https://localhost:18143 --ca-cert "$dir/ca/certs/ca.pem" --token-file "$dir/token"
}

connected() { client inventory --format json 2>/dev/null | grep -o '"name"' | wc -l; }

await_agents() {
    tries=0
    while [ "$(connected)" -ne "$agents" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "$name: only $(connected) of $agents agents are in the inventory" >&2; exit 1; }
        sleep 1
    done
}

run_task() {
    began=$(seconds)
    client task run demo --all --format json > "$dir/$1.json" || true
    echo "$1: $(since "$began"), nodes by state:"
    grep -o '"state": *"[a-z]*"' "$dir/$1.json" | sort | uniq -c
}

"$podium" ca init "$dir/ca" > /dev/null
issue server
mkdir -p "$dir/server" "$dir/code/environments/production/modules/demo/tasks"
printf '#!/bin/sh\necho done\n' > "$dir/code/environments/production/modules/demo/tasks/init.sh"
printf '{"description": "Nothing", "input_method": "stdin"}\n' > "$dir/code/environments/production/modules/demo/tasks/init.json"
names=$(seq -f '"broker%.0f"' -s, 1 "$brokers")
{
    certificates global.certs server
    echo "webserver: { pcp-broker: { ssl-host: \"127.0.0.1\", ssl-port: 18142 }, orchestrator: { ssl-host: \"127.0.0.1\", ssl-port: 18143 } }"
    echo "orchestrator: { data-dir: \"$dir/data\", code-dir: \"$dir/code\", brokers: [$names] }"
} > "$dir/server/podium.conf"
"$podium" server --config "$dir/server" > "$dir/server.log" 2>&1 &
pids="$pids $!"
echo $! > "$dir/server.pid"
while ! [ -s "$dir/data/admin-password" ]; do sleep 0.2; done
# The server listens a moment after it has written that.
until "$podium" access login admin --service-url https://localhost:18143 --ca-cert "$dir/ca/certs/ca.pem" --token-file "$dir/token" \
    < "$dir/data/admin-password" > /dev/null 2>&1; do sleep 0.5; done

for number in $(seq 1 "$brokers"); do
    issue "broker$number"
    mkdir -p "$dir/broker$number"
    {
        certificates global.certs "broker$number"
        echo "webserver: { pcp-broker: { ssl-host: \"127.0.0.1\", ssl-port: $((18200 + number)) } }"
        echo "pcp-broker: { controller-uris: [\"wss://localhost:18143/server\"] }"
    } > "$dir/broker$number/podium.conf"
    start_broker "$number"
done
sleep 3
echo "without agents:"
figures

began=$(seconds)
for number in $(seq 1 "$brokers"); do
    "$podium" capacity load idle --broker "localhost:$((18200 + number))" --ca-dir "$dir/ca" --connections "$each" \
        --name-prefix "fleet$number-" --name-suffix .example.test --from 127.0.0.1/24 --without-controller \
        --ramp 1000 --duration 2h --deadline 3h > "$dir/fleet$number.log" 2>&1 &
    pids="$pids $!"
done
await_agents
echo "all $agents agents in the inventory after $(since "$began"):"
figures

run_task "a task on all"
figures

(sleep 2; kill -9 "$(cat "$dir/broker$brokers.pid")"; sleep 5; echo again > "$dir/again") &
(while ! [ -s "$dir/again" ]; do sleep 0.2; done) &
again=$!
run_task "a task with broker$brokers killed after 2 s" &
task=$!
wait "$again"
start_broker "$brokers"
began=$(seconds)
wait "$task"
# The server remembers the agents of a broker for a while.
while [ "$(ls "/proc/$(cat "$dir/broker$brokers.pid")/fd" | wc -l)" -lt "$each" ]; do sleep 0.5; done
await_agents
echo "all $agents agents are back $(since "$began") after broker$brokers was started again; a few seconds later:"
# Free memory goes back within five.
sleep 12
figures
