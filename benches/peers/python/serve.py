"""What the Python programs share: the workloads, their data, and the dialogue with the table's program (main.rs)."""

import sys
import time
from collections import namedtuple
from statistics import median

import numpy as np

BATCHES = 8
MANY = 1024

Spec = namedtuple("Spec", "sizes activation loss optimizer batch")
SPECS = {
    "seed": Spec([20, 64, 1], "relu", "bce", "sgd", 32),
    "digits": Spec([64, 128, 10], "relu", "ce", "adam", 32),
    "mnist": Spec([784, 512, 256, 10], "relu", "ce", "momentum", 128),
    "wide": Spec([1024, 2048, 2048, 1000], "relu", "ce", "sgd", 256),
    "control": Spec([17, 64, 64, 6], "tanh", "mse", "adam", 256),
}


def read(name):
    return np.fromfile(f"{sys.argv[-1]}/{name}", dtype="<f4")


def params(name):
    """Of each layer the weights [in × out] and the bias [out]."""
    flat, layers, at = read(f"{name}.params"), [], 0
    for n_in, n_out in zip(SPECS[name].sizes, SPECS[name].sizes[1:]):
        w = flat[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        layers.append((w, flat[at : at + n_out]))
        at += n_out
    return layers


def batches(name):
    """x: [BATCHES, batch, in]; y: [BATCHES, batch, out], or [BATCHES, batch] numbers of classes."""
    spec = SPECS[name]
    x = read(f"{name}.x").reshape(BATCHES, spec.batch, spec.sizes[0])
    y = read(f"{name}.y")
    if spec.loss == "ce":
        return x, y.astype(np.int32).reshape(BATCHES, spec.batch)
    return x, y.reshape(BATCHES, spec.batch, spec.sizes[-1])


def samples(rows):
    """Inputs of predictions, in pieces of so many rows: 256 pieces of one, or all of several."""
    x = read("predict.x").reshape(-1, rows, SPECS["seed"].sizes[0])
    return x[:256] if rows == 1 else x


def script_data():
    """The random data of the first script of Keras's users."""
    rng = np.random.default_rng(1)
    return rng.random((1000, 20)), rng.integers(0, 2, (1000, 1))


def rows_of(workload):
    return int(workload.removeprefix("predict"))


def timed(work):
    """The seconds that `work` takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def serve(about, prepare):
    """Answers each line "WORKLOAD STEPS SECONDS" with "NANOSECONDS CHECK", or "- REASON".

    `prepare(workload)` returns a function, or a string that says why not. The function takes a number of steps, trains so many from
    the initial parameters (or predicts so many times), and returns the seconds that took and a number to check it by.
    """
    print(about, flush=True)
    runs = {}
    for line in sys.stdin:
        workload, steps, seconds = line.split()
        steps, seconds = int(steps), float(seconds)
        if workload not in runs:
            runs[workload] = prepare(workload)
        run = runs[workload]
        if isinstance(run, str):
            print("-", run, flush=True)
            continue
        start = time.perf_counter()
        while time.perf_counter() - start < seconds / 10:
            run(steps)
        times = []
        while not times or sum(times) < seconds:
            elapsed, check = run(steps)
            times.append(elapsed)
        print(median(times) / steps * 1e9, float(check), flush=True)
