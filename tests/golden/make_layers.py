"""Makes the golden training runs in `layers/`: 30 steps of small networks with every kind of layer, activation and
loss, in PyTorch and, where it has the loss, in Keras (on JAX).

    python3 -m venv V && V/bin/pip install -r requirements.txt && V/bin/python make_layers.py

Each file is one run, `FRAMEWORK_CASE_OPTIMIZER.txt`. Its lines are those that `make.py` describes, but for these.

    layers           one word for each layer, with w inputs:
                       dense:UNITS:ACTIVATION            z = x W + b; parameters W [w x UNITS], b [UNITS]
                       activation:ACTIVATION             z = x
                       layer_norm:ACTIVATION             z = gamma (x - mean) / sqrt(var + 1e-5) + beta, over the
                                                         features of a sample; parameters gamma [w], beta [w]
                       rms_norm:ACTIVATION               z = gamma x / sqrt(mean(x^2) + 1e-5); parameters gamma [w]
                       batch_norm:ACTIVATION             like layer_norm, over the samples of a batch; statistics
                                                         running mean [w], variance [w] = 0.9 running + 0.1 batch
                       normalization                     z = (x - mean) scale; statistics mean [w], scale [w], which are
                                                         those of all of the file's x, where it is not a category
                       embedding:COLUMN:CATEGORIES:DIMENSIONS
                                                         z = x with the category in COLUMN replaced by its row of the
                                                         table; parameters table [CATEGORIES x DIMENSIONS]
                     All variances are biased. ACTIVATION is a name, with `elu=ALPHA` and `leaky_relu=SLOPE`;
                     gelu is the exact one. What follows, in any order:
                       :nobias      no b
                       :residual=S  z += the values that enter the layer S - 1 places before
                       :dropout=R   y = activation(z) * factor, see `dropout_factors` in network.py
                       :l1=A :l2=B  the loss has A sum |w| + B/2 sum w^2 more, over W or the table
    loss             a name, and its constant if it has one. With e = y - t, mean over samples and outputs:
                     mse; half_mse, half the sum over outputs, mean over samples; mae |e|; huber D; log_cosh;
                     quantile Q max(-Q e, (1 - Q) e); hinge max(0, 1 - t y); poisson y - t ln(y + 1e-7);
                     bce S, from the last pre-activations, with t (1 - S) + S / 2 for t;
                     bce_probabilities, y clipped to [1e-7, 1 - 1e-7].
                     Mean over samples: ce_class, ce_class S, ce_onehot S, from the last pre-activations, with
                     t (1 - S) + S / outputs for t, of a class index one-hot; ce_probabilities -sum t ln y, y clipped to
                     [1e-7, 1 - 1e-7]; kl sum t ln(t / y), both clipped to [1e-7, 1].
                     (Nothing comes near to where it is clipped, but for t = 0 in kl.)
    seed             of dropout; its step counts from 0
    categories       column and number of categories, for each column of x that holds some
    weights          one for each sample; its terms are multiplied by it, what they are divided by stays
    class_weights    one for each class: the weight of its samples
    mask             [batches * batch x outputs], 0 or 1: what has 0 counts nothing, and the mean is over the others;
                     where the mean is over samples, a sample's are alike
    initial, final   parameters only, layer after layer, each layer's in the order above
    statistics_initial, statistics_final
                     statistics, layer after layer
    f32_statistics_distance, f32_statistics_distance_of_5
                     like those of the parameters

Every float64 run is checked against `plain_network.py`, and nothing in it comes near to a kink, on both sides of which
each function with one has been. Single thread, CPU, two minutes in all.
"""

from pathlib import Path

from training import (  # first: it sets Keras's environment
    AGREEMENT,
    BATCH,
    BATCHES,
    KINK,
    distance,
    flat,
    framework_line,
    optimizer_line,
    orders,
    write,
)

import keras_network
import numpy as np
import plain_network
import torch_network
from cases import CASES, DROPOUT_SEED, batches, data
from network import check_philox

FRAMEWORKS = {"torch": torch_network.run, "keras": keras_network.run}
TORCH_ONLY = ("quantile", "ce_class_smoothed")  # Keras has no quantile loss, and smooths one-hot targets only


def check_kinks(name, kinks):
    for function, (nearest, below, above) in kinks.seen.items():
        assert nearest > KINK, f"{name}: {function} came within {nearest:.1e} of its kink, take another seed"
        both = below and above or function.startswith("clipped") and below != above
        assert both, f"{name}: {function} has been on one side of its kink only, take another seed"


def plain_checked(name, case, framework):
    """Data and the run in plain numpy, which is far enough from kinks and goes somewhere."""
    x, t, extras, params, statistics = drawn = data(case)
    plain = plain_network.run(case, framework, batches(case, x, t, extras, np.arange(len(x))), params, statistics)
    losses, final, _, kinks = plain
    check_kinks(name, kinks)
    assert distance(flat(params), flat(final))[1] > 0.1, f"{name}: parameters hardly move"
    assert losses[-BATCHES:].mean() < losses[:BATCHES].mean(), f"{name}: the loss grows"
    return drawn, plain[:3]


def flat_statistics(statistics):
    return flat([s for of in statistics.values() for s in of])


def make(case_name, framework):
    case, name = CASES[case_name], f"{framework}_{case_name}_{CASES[case_name].optimizer}"
    (x, t, extras, params, statistics), plain = plain_checked(name, case, framework)

    def run(order, dtype):
        losses, final, moved = FRAMEWORKS[framework](
            case, batches(case, x, t, extras, order), params, statistics, dtype
        )
        assert all(a.dtype == dtype for a in [*final, *(s for of in moved.values() for s in of)])
        return losses, flat(final), flat_statistics(moved)

    in_order = np.arange(len(x))
    golden = run(in_order, "float64")
    for ours, check in zip(golden, (plain[0], flat(plain[1]), flat_statistics(plain[2])), strict=True):
        assert ours.shape == check.shape and distance(ours, check)[0] < AGREEMENT, (name, distance(ours, check))

    def distances(order):
        return [distance(ours, exact) for ours, exact in zip(run(order, "float32"), golden, strict=True)]

    once, of_5 = distances(in_order), np.median([distances(order) for order in map(orders, range(5))], axis=0)
    given = {
        "seed": [DROPOUT_SEED] if any(layer.dropout for layer in case.layers) else [],
        "categories": [number for pair in case.categories.items() for number in pair],
        "weights": [] if extras["weights"] is None else extras["weights"],
        "class_weights": case.class_weights or [],
        "mask": [] if extras["mask"] is None else extras["mask"].astype(int).ravel(),
        "statistics_initial": flat_statistics(statistics),
        "statistics_final": golden[2],
        "f32_statistics_distance": once[2] if statistics else [],
        "f32_statistics_distance_of_5": of_5[2] if statistics else [],
    }
    lines = {
        "framework": framework_line(framework),
        "inputs": [case.inputs],
        "layers": case.words.split(),
        "loss": case.loss_words.split(),
        "optimizer": optimizer_line(framework, case.optimizer, case.settings),
        "batch": [BATCH],
        "batches": [BATCHES],
        "x": x.ravel(),
        "t": t.ravel(),
        "initial": flat(params),
        "losses": golden[0],
        "final": golden[1],
        "f32_loss_distance": once[0],
        "f32_final_distance": once[1],
        "f32_loss_distance_of_5": of_5[0],
        "f32_final_distance_of_5": of_5[1],
        **{key: values for key, values in given.items() if len(values)},
    }
    path = Path(__file__).with_name("layers") / f"{name}.txt"
    write(path, lines)
    print(f"{name:36} {path.stat().st_size:6} bytes, losses {golden[0][0]:.3f} to {golden[0][-1]:.3f},", end=" ")
    print(f"float32 {of_5[0][0]:.1e} {of_5[1][1]:.1e} {of_5[2][1]:.1e}", flush=True)


if __name__ == "__main__":
    check_philox()
    for framework in FRAMEWORKS:
        for name in CASES:
            if framework == "torch" or name not in TORCH_ONLY:
                make(name, framework)
