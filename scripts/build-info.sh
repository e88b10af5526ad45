#!/usr/bin/env bash
# Prints what a clean release build costs: crates, seconds, bytes. Builds into a directory of its own, so that the one
# in use stays.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

crates=$(cargo tree --locked --edges normal,build --prefix none --format '{p}' | sed 's/ (\*)$//' | sort -u | wc -l)
cargo fetch --locked --quiet
start=$(date +%s)
cargo build --release --locked --quiet --target-dir "$target"
end=$(date +%s)

echo "crates:  $((crates - 1)) beside our own"
echo "build:   $((end - start)) s on $(nproc) cores, $(rustc --version)"
echo "binary:  $(stat -c %s "$target/release/podium") bytes"
