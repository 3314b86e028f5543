#!/usr/bin/env bash
# Builds the firmwares, runs them in QEMU, and holds the hashes of what was learnt against hashes.txt.
# usage: no_std_example/run.sh [BOARD…]    boards: m0 m3 m4 m7 m33 m55 rv32imac rv32imafc desktop; all (the default) is all of them
set -euo pipefail
cd "$(dirname "$0")"
. ./target.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
readonly programs=(digits gesture layers)
readonly boards=(m0 m3 m4 m7 m33 m55 rv32imac rv32imafc desktop)

fail() { printf '%s\n' "$@" >&2; exit 1; }

# machine BOARD: its target, QEMU machine, core, and memory map.
machine() {
  case "$1" in
    m0) echo thumbv6m-none-eabi microbit cortex-m0 microbit ;;
    m3) echo thumbv7m-none-eabi mps2-an385 cortex-m3 mps2 ;;
    m4) echo thumbv7em-none-eabihf mps2-an386 cortex-m4 mps2 ;;
    m7) echo thumbv7em-none-eabihf mps2-an500 cortex-m7 mps2 ;;
    m33) echo thumbv8m.main-none-eabihf mps2-an505 cortex-m33 mps2-an505 ;;
    m55) echo thumbv8m.main-none-eabihf mps3-an547 cortex-m55 mps3-an547 ;;
    rv32imac | rv32imafc) echo "riscv${1#rv}-unknown-none-elf" virt "rv32" virt ;;
    *) fail "run.sh: no board $1; there are: ${boards[*]}" ;;
  esac
}

# compile BOARD: all programs.
compile() (
  read -r target _ _ map <<<"$(machine "$1")"
  prepare "$target"
  export BOARD=$map
  cargo "${build[@]}" --quiet --features gesture "${programs[@]/#/--bin=}"
)

# emulate BOARD PROGRAM: its output. By the emulator's clock, which the programs read, an instruction takes a nanosecond.
emulate() (
  read -r target machine cpu _ <<<"$(machine "$1")"
  if [[ $1 == rv* ]]; then
    emulator=(qemu-system-riscv32 -machine "$machine" -bios none)
  else
    emulator=(qemu-system-arm -machine "$machine" -cpu "$cpu")
  fi
  command -v "${emulator[0]}" >/dev/null ||
    fail "No ${emulator[0]}: apt-get install -y --no-install-recommends qemu-system-arm qemu-system-misc"
  timeout 600 "${emulator[@]}" -icount shift=0 -nographic -semihosting-config enable=on,target=native \
    -kernel "$CARGO_TARGET_DIR/$target/release/$2" </dev/null
)

# The value of key $2 in the last line of $1.
value() { tail -n 1 <<<"$1" | grep -o "\b$2=[^ ]*" | cut -d = -f 2; }

if [ $# = 0 ] || [ "$1" = all ]; then set -- "${boards[@]}"; fi
for board in "$@"; do
  if [ "$board" != desktop ]; then machine "$board" >/dev/null; fi
done
gesture/prepare.sh
summary=
for board in "$@"; do
  if [ "$board" != desktop ]; then compile "$board"; fi
  for program in "${programs[@]}"; do
    printf '\n== %s: %s\n' "$board" "$program"
    if [ "$board" = desktop ]; then
      output=$(cargo run --quiet --profile desktop --features gesture --bin "$program")
    else
      output=$(emulate "$board" "$program") || fail "$board: $program failed" "${output:-}"
    fi
    echo "$output"
    expected=$(sed -n "s/^$program //p" hashes.txt)
    found=$(value "$output" hash || true)
    [ "$found" = "$expected" ] || fail "" "$board: $program came to ${found:-nothing}, elsewhere to $expected"
    if [ "$program" = digits ]; then summary+=" $board=$found" accuracy=$(value "$output" accuracy); fi
    if [ "$program" = gesture ]; then gesture="$(value "$output" before) before, $(value "$output" accuracy) after"; fi
  done
done
printf '\ngesture: %s it was trained on the device\n' "$gesture"
printf 'result:%s accuracy=%s\n' "$summary" "$accuracy"
