#!/usr/bin/env bash
# Builds the motor monitor, runs it, and compares the hashes of what was learnt; the same for the check of src/layers.rs.
# usage: no_std_example/run.sh [m0|m4|desktop|all]    (all: on a Cortex-M0, a Cortex-M4F and here)
set -euo pipefail
cd "$(dirname "$0")"
. ./target.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}

fail() { printf '%s\n' "$@" >&2; exit 1; }

# Runs both firmwares for target $2 in QEMU as $1, and leaves their output in the files $3 and $3-layers.
firmware() (
  command -v qemu-system-arm >/dev/null ||
    fail "No qemu-system-arm: apt-get install -y --no-install-recommends qemu-system-arm"
  prepare "$2"
  cargo "${build[@]}"
  if command -v size >/dev/null; then (cd "$CARGO_TARGET_DIR/$2/release" && size motor-monitor layers); fi
  # A warm build: this starts the runner of .cargo/config.toml.
  timeout 300 cargo "${build[@]/#build/run}" --quiet </dev/null | tee "$3"
  timeout 300 cargo "${build[@]/#build/run}" --quiet --bin layers </dev/null | tee "$3-layers"
)

run() {
  printf '\n== %s\n' "$1"
  case "$1" in
    m0) firmware "$1" thumbv6m-none-eabi "$out/$1" ;;
    m4) firmware "$1" thumbv7em-none-eabihf "$out/$1" ;;
    desktop) cargo run --release | tee "$out/$1" && cargo run --release --bin layers | tee "$out/$1-layers" ;;
  esac
  [[ $(tail -n 1 "$out/$1") == result:* && $(tail -n 1 "$out/$1-layers") == result:* ]] || fail "$1 printed no result"
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
layers=$(value desktop-layers hash)
for target in "${targets[@]}"; do
  [ "$(value "$target-layers" hash)" = "$layers" ] ||
    fail "" "Layers differ: $target $(value "$target-layers" hash), desktop $layers"
  [ "$(value "$target" hash)" = "$hash" ] || fail "" "The weights differ: $target $(value "$target" hash), desktop $hash"
  hashes+=" $target=$(value "$target" hash)"
done
printf '\nthe same layers everywhere: %s\n' "$layers"
printf 'result: hash=%s%s accuracy=%s loss=%s\n' "$hash" "$hashes" "$(value desktop accuracy)" "$(value desktop loss)"
