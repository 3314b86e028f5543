#!/usr/bin/env bash
# Counts the instructions of training steps and predictions on emulated Cortex-M cores, and holds them against
# counts.txt: more than 2% above it fails, of the stack that they use too. Checks that the networks of tests/one_lane/widths.rs
# learn there what they learn on a desktop, that mistakes are refused as on a desktop, that a program that has no function to
# panic with links, and that a core without FPU spends at most a tenth of a step outside the compiler's routines for floats.
# The figures in the documents have to be those of counts.txt.
# usage: no_std_example/instructions/count.sh [--write]    (--write: stores what was counted, there and in the documents)
set -euo pipefail
cd "$(dirname "$0")"
. ../target.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}
readonly hashes=../../tests/one_lane
readonly documents=(../README.md ../../docs/EMBEDDED.md ../../README.md)

fail() { printf '%s\n' "$@" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "No $1: apt-get install -y --no-install-recommends $2"; }

# soft_float PROGRAM: where the compiler's routines for floats are, and the integer routines that they call, for the plugin.
soft_float() {
  local start size kind name
  nm -S -C --defined-only "$1" | while read -r start size kind name; do
    case "$kind $name" in
      [tTwW]\ compiler_builtins::float::* | [tTwW]\ __aeabi_[fd]* | [tTwW]\ __aeabi_*2[fd] | [tTwW]\ __aeabi_lmul | [tTwW]\ __clzsi2)
        printf ',apart=%x-%x' $((0x$start & ~1)) $(((0x$start & ~1) + 0x$size)) ;;
    esac
  done
}

# run CPU MACHINE PROGRAM: what it and the plugin write. (Its exit status is that of the firmware.)
run() {
  timeout 300 qemu-system-arm -machine "$2" -cpu "$1" -nographic -semihosting-config enable=on,target=native \
    -plugin "$CARGO_TARGET_DIR/libcount.so$(soft_float "$3")" -kernel "$3" </dev/null 2>&1
}

# count TARGET CPU MACHINE PROGRAM…: a line for each into $counted.
count() (
  target=$1 cpu=$2 machine=$3
  shift 3
  prepare "$target"
  cargo "${build[@]}" --quiet "${@/#/--bin=}"
  made_by=$("${RUSTC:-rustc}" -V)
  for program in "$@"; do
    file=$CARGO_TARGET_DIR/$target/release/$program
    output=$(run "$cpu" "$machine" "$file") || fail "$cpu $program failed:" "$output"
    hash=$(sed -n 's/^hash=//p' <<<"$output")
    stack=$(sed -n 's/^stack=//p' <<<"$output")
    if [ "$program" = mistakes ]; then
      echo "$cpu: mistakes are refused, and change nothing" >&2
      continue
    fi
    if [[ $program == widths* ]]; then
      on_desktop=$(<"$hashes/$program.txt")
      [ "$hash" = "$on_desktop" ] || fail "$cpu: the networks of all $program came to $hash, on a desktop to $on_desktop"
      echo "$cpu: the networks of all $program came to $hash, as on a desktop" >&2
      continue
    fi
    # Not of XOR: its network is so small that what is done once in a step has more than a tenth.
    if [ "$cpu" = cortex-m0 ] && [[ $program == train-se* ]]; then
      outside=$(awk '/^counted/ { all += $2; soft += $4 } END { if (soft) printf "%.1f", 100 * (all - soft) / all }' <<<"$output")
      awk -v outside="${outside:-100}" 'BEGIN { exit outside > 10 }' ||
        fail "$cpu $program: ${outside:-all} % of the instructions lie outside the routines for floats, more than 10 %"
      echo "$cpu $program: $outside % of the instructions lie outside the routines for floats" >&2
    fi
    flash=$(size "$file" | awk 'NR == 2 { print $1 }')
    awk -v cpu="$cpu" -v program="$program" -v hash="$hash" -v flash="$flash" -v stack="$stack" -v made_by="$made_by" '
      /^counted/ { n++; instructions += $2; cycles += $3; if ($2 > longest) { longest = $2; cycles_of_it = $3 } }
      END { if (!n) exit 1
            if (program ~ /^slice-/) { n = 1; instructions = longest; cycles = cycles_of_it }
            printf "%-10s %-24s %8d %8d %7d %6d %s | %s\n", cpu, program, instructions / n, cycles / n, flash, stack, hash, made_by }' <<<"$output"
  done >>"$counted"
)

# cannot_panic TARGET: `no-panic` calls what does not exist if there is a panic to be reached.
cannot_panic() (
  prepare "$1"
  cargo "${build[@]}" --quiet --bin no-panic || fail "$1: the lean schedule has a panic (see the undefined symbol)"
  echo "$1: no panic can be reached" >&2
)

need gcc gcc
need size binutils
need nm binutils
need qemu-system-arm qemu-system-arm
mkdir -p "$CARGO_TARGET_DIR"
gcc -O2 -Wall -Wextra -Werror -fPIC -shared -o "$CARGO_TARGET_DIR/libcount.so" count.c
counted=$(mktemp)
trap 'rm -f "$counted"' EXIT
all=(train-xor train-seed train-sensor train-sensor-adam predict-seed predict-sensor slice-sensor slice-sensor-adam)
fused=(train-seed-fused train-sensor-fused train-sensor-adam-fused predict-seed-fused predict-sensor-fused)
# `mistakes` chooses as it runs, so that it has all schedules in it: too much for the other board.
count thumbv7em-none-eabihf cortex-m4 mps2-an386 "${all[@]}" "${fused[@]}" widths widths-fused mistakes
# 16 KiB of RAM hold the sensor's parameters, but not Adam's state beside them.
count thumbv6m-none-eabi cortex-m0 microbit train-xor train-seed train-sensor predict-seed predict-sensor slice-sensor
cannot_panic thumbv7em-none-eabihf
cannot_panic thumbv6m-none-eabi

header="# cpu        program                  instructions  M4 cycles  flash  stack  hash | compiler"
printf '%s\n' "$header"
cat "$counted"
if [ "${1:-}" = --write ]; then
  { sed -n '/^#/p' counts.txt; cat "$counted"; } >counts.new
  mv counts.new counts.txt
  for document in "${documents[@]}"; do
    awk -f figures.awk counts.txt "$document" >counts.new
    cat counts.new >"$document"
  done
  rm counts.new
  exit
fi
for document in "${documents[@]}"; do
  awk -f figures.awk counts.txt "$document" | diff "$document" - ||
    fail "$document has other figures than counts.txt (> are those): count.sh --write"
done
awk '
  /^#/ { next }
  { split($0, part, " \\| "); key = $1 " " $2 }
  NR == FNR { stored[key] = $3; deep[key] = $6; compiler[key] = part[2]; hash[key] = $7; next }
  !(key in stored) { print "not in counts.txt: " key; failed = 1; next }
  hash[key] != $7 { print key " came to " $7 ", stored is " hash[key]; failed = 1 }
  compiler[key] != part[2] { print "NOT CHECKED: instructions of " key ": counted with " compiler[key] ", this is " part[2]; next }
  $3 > 1.02 * stored[key] { print key ": " $3 " instructions, stored are " stored[key]; failed = 1 }
  $6 > 1.02 * deep[key] { print key ": " $6 " bytes of stack, stored are " deep[key]; failed = 1 }
  $3 < 0.98 * stored[key] { print key ": " $3 " instructions, fewer than the " stored[key] " stored: count.sh --write" }
  END { exit failed }
' counts.txt "$counted"
