#!/usr/bin/env python3
"""Where the time of a training step goes, sampled: what binds it, when `peak_fraction` says how far it is from the peak.

    benches/profile.py seed                    # on the default instruction set
    benches/profile.py mnist avx2-portable     # on another
    benches/profile.py control --core 1 --seconds 10

It needs perf and addr2line (apt install linux-perf binutils), and takes 10 seconds once the bench is built: with the lines of its
code, under target/profile. Shares are of samples of the processor's clock, by the product of matrices whose code it was in, and there by what
it did. Code that several products share as a function of its own is under `other`.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target/profile"
# Files of the crate: the products of matrices whose code they are,
PRODUCTS = {
    "kernels/dense_update": "gradients and updates",
    "kernels/dense_delta": "back through the weights",
    "kernels/swapped": "back through the weights",
    "kernels/dense_forward": "forward",
}
# and what they do around a tile's multiply-adds.
PARTS = {
    "kernels/ahead": "prefetching",
    "kernels/apply": "the optimizer",
    "kernels/dense_forward": "bias",
    "kernels/dense_update": "handing on gradients",
    "kernels/rows": "loads and stores",
    "kernels/tiles": "starting and ending tiles",
    "optimizer": "the optimizer",
}
WALK, PACK = "simd/walk", "kernels/pack"
# The function that walks over the terms of a tile.
TILE = "kernels/tiles", "tile"
# Functions that pack, too.
COPIES = {"copy_columns": "kernels/transposed", "turn_back": "kernels/swapped"}
TILES, PACKING, FUNCTIONS = "multiply-adds of tiles", "packing", "activations, their slopes and the loss"


def output(*command, **options):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout
    except FileNotFoundError:
        sys.exit(f"no {command[0]}: apt install linux-perf binutils")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{command[0]} failed: {error.stderr.strip()}")


def text_of(file):
    path = ROOT / f"src/{file}.rs"
    return path.read_text() if path.exists() else sys.exit(f"{path.name} is named here, and isn't in src any more")


def check():
    """That what is named above is still there: all of it would be `other` otherwise."""
    for file in (*PRODUCTS, *PARTS, WALK, PACK):
        text_of(file)
    for function, file in (*COPIES.items(), reversed(TILE)):
        if f"fn {function}" not in text_of(file):
            sys.exit(f"{function} is named here, and isn't in {file}.rs any more")


def build():
    """The bench `train_step`, with the lines of its code."""
    env = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "CARGO_PROFILE_BENCH_DEBUG": "line-tables-only"}
    command = ["cargo", "bench", "--bench", "train_step", "--no-run", "--message-format=json"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
    if built.returncode:
        sys.exit(built.returncode)
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return next(message["executable"] for message in messages if message.get("executable"))


def sample(program, row, core, seconds):
    """Samples by address in the file, and how many there are in all."""
    data = TARGET / "perf.data"
    run = [program, "--bench", "--profile-time", str(seconds), f"^{row}$"]
    output("perf", "record", "-q", "-e", "cpu-clock:u", "-F", "2000", "-o", str(data), "taskset", "-c", str(core), *run)
    parts = []
    for line in output("perf", "script", "-i", str(data), "--show-mmap-events", "-F", "comm").splitlines():
        found = re.search(r"\[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (0x[0-9a-f]+|0) .*r-xp " + re.escape(program), line)
        if found:
            start, length, offset = (int(text, 16) for text in found.groups())
            parts.append((start, start + length, offset))
    loads = []
    for line in output("readelf", "-lW", program).splitlines():
        if line.split()[:1] == ["LOAD"]:
            offset, address, _, length = (int(text, 16) for text in line.split()[1:5])
            loads.append((offset, offset + length, address - offset))
    samples, count = collections.Counter(), 0
    for line in output("perf", "script", "-i", str(data), "-F", "ip").split():
        count += 1
        at = int(line, 16)
        for start, end, offset in parts:
            if start <= at < end:
                at = at - start + offset
                shift = next((shift for first, last, shift in loads if first <= at < last), None)
                if shift is not None:
                    samples[at + shift] += 1
    return samples, count


def places(program, addresses):
    """For each address the product and the part of it that its code belongs to."""
    chains = collections.defaultdict(list)
    asked = "\n".join(f"{address:#x}" for address in addresses)
    at, function = None, ""
    for line in output("addr2line", "-a", "-f", "-i", "-C", "-e", program, input=asked).splitlines():
        if re.fullmatch("0x[0-9a-f]+", line):
            at = int(line, 16)
        elif not re.search(r":(\d+|\?)( \(.*\))?$", line):
            function = line
        else:
            file = re.match(rf"{re.escape(str(ROOT))}/src/(.*)\.rs:", line)
            chains[at].append((file[1] if file else "", function))
    return {at: place(chain) for at, chain in chains.items()}


def place(chain):
    """Where code belongs that was inlined so, innermost first: files of the crate, and functions."""
    text = " ".join(f"{file} {function}" for file, function in chain)
    product = next((product for file, product in PRODUCTS.items() if file.removeprefix("kernels/") in text), "other")
    own = [frame for frame in chain if frame[0] and not frame[0].startswith("simd/x86_64") and frame[0] != "simd/isa"]
    files = [file for file, _ in own]
    # Of loops that a compiler has unrolled some of the code is that of what calls the walk.
    if WALK in files or own and own[0][0] == TILE[0] and re.search(rf"\b{TILE[1]}\b", own[0][1]):
        return product, TILES
    if PACK in files or re.search("|".join(COPIES), text):
        return product, PACKING
    if any(re.match("activation$|math/|kernels/(activate|map|output)", file) for file in files):
        return product, FUNCTIONS
    return product, PARTS.get(files[0], files[0]) if files else chain[-1][1]


def main():
    check()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("isa", nargs="?")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=8)
    asked = parser.parse_args()
    program = build()
    listed = [line.removesuffix(": benchmark") for line in output(program, "--bench", "--list").splitlines()]
    rows = [row for row in listed if row.startswith(f"train_step/{asked.workload}/") and (asked.isa or "") in row]
    if not rows:
        steps = [row.removeprefix("train_step/") for row in listed if row.startswith("train_step/")]
        sys.exit(f"no such workload and instruction set; there are {', '.join(steps)}")
    row = next((row for row in rows if row.endswith("-fused")), rows[0])
    samples, count = sample(program, row, asked.core, asked.seconds)
    if not samples:
        sys.exit("perf has no sample of the program")
    where = places(program, samples)
    parts = collections.defaultdict(collections.Counter)
    for at, hits in samples.items():
        product, part = where[at]
        parts[product][part] += hits
    share = lambda hits: f"{100 * hits / count:5.1f} %"
    print(f"{row}: {count} samples\n")
    for product, inner in sorted(parts.items(), key=lambda item: -item[1].total()):
        print(f"{share(inner.total())}  {product}")
        for part, hits in inner.most_common():
            if hits >= count / 200:
                print(f"  {share(hits)}  {part}")
    print("\nof all products")
    totals = sum(parts.values(), collections.Counter())
    for part, hits in totals.most_common():
        if hits >= count / 100:
            print(f"  {share(hits)}  {part}")


if __name__ == "__main__":
    main()
