#!/usr/bin/env bash
# Fetches the recordings of the example `gesture`, trains its network on a desktop, and leaves both for the firmware.
# usage: no_std_example/gesture/prepare.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
folder=$CARGO_TARGET_DIR/gesture
readonly aeon=aeon==1.6.0

if [ ! -f "$folder/BasicMotions_TEST.ts" ]; then
  mkdir -p "$folder"
  if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "No pip: apt-get install -y --no-install-recommends python3-pip" >&2
    exit 1
  fi
  # The package has the data sets of its examples; nothing of it is installed.
  for attempt in 1 2 3; do
    if python3 -m pip download --quiet --no-deps --dest "$folder" "$aeon"; then break; fi
    if [ "$attempt" = 3 ]; then echo "$aeon is out of reach" >&2; exit 1; fi
    sleep 5
  done
  python3 - "$folder" <<'PYTHON'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("aeon-*.whl"))) as wheel:
    for part in "TRAIN", "TEST":
        name = f"BasicMotions_{part}.ts"
        (folder / name).write_bytes(wheel.read(f"aeon/datasets/data/BasicMotions/{name}"))
PYTHON
  rm "$folder"/aeon-*.whl
fi
cargo run --quiet --profile desktop --example backbone -- "$folder/BasicMotions_TRAIN.ts" "$folder/BasicMotions_TEST.ts" "$folder"
