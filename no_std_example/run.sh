#!/usr/bin/env bash
# Builds the motor monitor, runs it, and compares the hashes of what was learnt.
# usage: no_std_example/run.sh [m0|m4|desktop|all]    (all: on a Cortex-M0, a Cortex-M4F and here)
set -euo pipefail
cd "$(dirname "$0")"
. ./target.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}

fail() { printf '%s\n' "$@" >&2; exit 1; }

# Runs firmware for target $2 in QEMU as $1, and leaves its output in the file $3.
firmware() (
  command -v qemu-system-arm >/dev/null ||
    fail "No qemu-system-arm: apt-get install -y --no-install-recommends qemu-system-arm"
  prepare "$2"
  cargo "${build[@]}"
  if command -v size >/dev/null; then size "$CARGO_TARGET_DIR/$2/release/motor-monitor"; fi
  # A warm build: this starts the runner of .cargo/config.toml.
  timeout 300 cargo "${build[@]/#build/run}" --quiet </dev/null | tee "$3"
)

run() {
  printf '\n== %s\n' "$1"
  case "$1" in
    m0) firmware "$1" thumbv6m-none-eabi "$out/$1" ;;
    m4) firmware "$1" thumbv7em-none-eabihf "$out/$1" ;;
    desktop) cargo run --release | tee "$out/$1" ;;
  esac
  [[ $(tail -n 1 "$out/$1") == result:* ]] || fail "$1 printed no result"
}

# The value of key $2 in the result of $1.
value() { tail -n 1 "$out/$1" | grep -o "\b$2=[^ ]*" | cut -d = -f 2; }

case "${1:-all}" in
  m0 | m4) targets=("$1" desktop) ;;
  desktop) targets=(desktop) ;;
  all) targets=(m0 m4 desktop) ;;
  *) fail "usage: run.sh [m0|m4|desktop|all]" ;;
esac
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

for target in "${targets[@]}"; do run "$target"; done
hash=$(value desktop hash)
hashes=
for target in "${targets[@]}"; do
  [ "$(value "$target" hash)" = "$hash" ] || fail "" "The weights differ: $target $(value "$target" hash), desktop $hash"
  hashes+=" $target=$(value "$target" hash)"
done
printf '\nresult: hash=%s%s accuracy=%s loss=%s\n' "$hash" "$hashes" "$(value desktop accuracy)" "$(value desktop loss)"
