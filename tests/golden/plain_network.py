"""The runs of `make_layers.py` once more as plain loops over numpy arrays, derivatives written out by hand."""

from math import tau

import numpy as np
from network import EPSILON, MOMENTUM, by_layer
from scipy.special import erf, expit
from training import plain_update

CLIP = 1e-7  # in bce_probabilities, ce_probabilities, kl; in poisson added
PER_SAMPLE = (
    "ce_class",
    "ce_onehot",
    "ce_probabilities",
    "kl",
)  # losses with one term per sample; the others have one per output
SELU = 1.0507009873554805, 1.6732632423543772


class Kinks:
    """How near to a kink the argument of each function came, and whether it was on both sides of it."""

    def __init__(self):
        self.seen = {}

    def see(self, name, arguments):
        nearest, below, above = self.seen.get(name, (np.inf, False, False))
        if arguments.size:
            nearest = min(nearest, np.abs(arguments).min())
        self.seen[name] = nearest, below or (arguments < 0).any(), above or (arguments > 0).any()


def activate(name, constant, z, kinks):
    """Values, and how the derivative by them becomes that by z."""
    if name in ("relu", "leaky_relu", "elu", "selu"):
        kinks.see(name, z)
    if name in ("hard_sigmoid", "hard_swish"):
        kinks.see(f"{name} at -3", z + 3)
        kinks.see(f"{name} at 3", z - 3)
    if name == "softmax":
        y = np.exp(z - z.max(1, keepdims=True))
        y /= y.sum(1, keepdims=True)
        return y, lambda d: y * (d - (d * y).sum(1, keepdims=True))
    positive = z > 0
    s, tanh = expit(z), np.tanh(z)
    hard = np.clip((z + 3) / 6, 0, 1)
    hard_slope = (np.abs(z) < 3) / 6
    phi = (1 + erf(z / np.sqrt(2))) / 2
    inner = np.tanh(np.sqrt(4 / tau) * (z + 0.044715 * z**3))
    inner_slope = (1 - inner**2) * np.sqrt(4 / tau) * (1 + 3 * 0.044715 * z**2)
    grown = np.tanh(np.log1p(np.exp(z)))
    scale, alpha = SELU
    y, slope = {
        "linear": (z, np.ones_like(z)),
        "relu": (z * positive, 1.0 * positive),
        "leaky_relu": (np.where(positive, z, constant * z), np.where(positive, 1, constant)),
        "sigmoid": (s, s * (1 - s)),
        "tanh": (tanh, 1 - tanh**2),
        "elu": (np.where(positive, z, constant * np.expm1(z)), np.where(positive, 1, constant * np.exp(z))),
        "selu": (
            scale * np.where(positive, z, alpha * np.expm1(z)),
            scale * np.where(positive, 1, alpha * np.exp(z)),
        ),
        "gelu": (z * phi, phi + z * np.exp(-z * z / 2) / np.sqrt(tau)),
        "gelu_tanh": (0.5 * z * (1 + inner), 0.5 * (1 + inner) + 0.5 * z * inner_slope),
        "silu": (z * s, s + z * s * (1 - s)),
        "softplus": (np.log1p(np.exp(z)), s),
        "softsign": (z / (1 + np.abs(z)), 1 / (1 + np.abs(z)) ** 2),
        "hard_sigmoid": (hard, hard_slope),
        "hard_swish": (z * hard, hard + z * hard_slope),
        "mish": (z * grown, grown + z * (1 - grown**2) * s),
    }[name]
    return y, lambda d: d * slope


def kind(layer, x, params, statistics):
    """z, and how the derivative by z becomes those by x and by the parameters. Moves running statistics."""
    if layer.kind == "dense":
        w = params[0]
        z = x @ w + (params[1] if layer.bias else 0)
        return z, lambda d: (d @ w.T, [x.T @ d, d.sum(0)][: len(params)])
    if layer.kind in ("layer_norm", "rms_norm", "batch_norm"):
        axis = 0 if layer.kind == "batch_norm" else 1
        centred = layer.kind != "rms_norm"
        mean = x.mean(axis, keepdims=True) * centred
        variance = ((x - mean) ** 2).mean(axis, keepdims=True)
        deviation = np.sqrt(variance + EPSILON)
        h = (x - mean) / deviation
        if layer.kind == "batch_norm":
            for running, now in zip(statistics, (mean, variance), strict=True):
                running += MOMENTUM * (now[0] - running)

        def back(d):
            dh = d * params[0]
            along = dh.mean(axis, keepdims=True) * centred + h * (dh * h).mean(axis, keepdims=True)
            return (dh - along) / deviation, [(d * h).sum(0), d.sum(0)][: len(params)]

        return h * params[0] + (params[1] if centred else 0), back
    if layer.kind == "normalization":
        mean, scale = statistics
        return (x - mean) * scale, lambda d: (d * scale, [])
    if layer.kind == "embedding":
        (table,) = params
        column, category = layer.column, x[:, layer.column].astype(int)
        after = column + table.shape[1]

        def back(d):
            gradient = np.zeros_like(table)
            np.add.at(gradient, category, d[:, column:after])
            return np.concatenate([d[:, :column], 0 * x[:, [column]], d[:, after:]], 1), [gradient]

        return np.concatenate([x[:, :column], table[category], x[:, column + 1 :]], 1), back
    return x, lambda d: (d, [])


def loss_of(name, constant, y, t, kinks, counts):
    """The terms [samples x outputs] and their derivatives by y. `counts` [samples x outputs]: which ones count."""
    e = y - t
    if name in ("mse", "half_mse"):
        return e * e, 2 * e
    if name == "mae":
        kinks.see(name, e[counts])
        return np.abs(e), np.sign(e)
    if name == "huber":
        kinks.see(name, (np.abs(e) - constant)[counts])
        inside = np.abs(e) <= constant
        return np.where(inside, e * e / 2, constant * (np.abs(e) - constant / 2)), np.clip(e, -constant, constant)
    if name == "log_cosh":
        return np.log(np.cosh(e)), np.tanh(e)
    if name == "quantile":
        kinks.see(name, e[counts])
        return np.where(e < 0, -constant * e, (1 - constant) * e), np.where(e < 0, -constant, 1 - constant)
    if name == "hinge":
        kinks.see(name, (1 - t * y)[counts])
        return np.maximum(0, 1 - t * y), -t * (t * y < 1)
    if name == "poisson":
        return y - t * np.log(y + CLIP), 1 - t / (y + CLIP)
    if name.endswith("_probabilities") or name == "kl":
        kinks.see("clipped below", (y - CLIP)[counts])
    if name.endswith("_probabilities"):
        kinks.see("clipped above", (y - (1 - CLIP))[counts])
    if name in ("bce", "bce_probabilities"):
        t = t * (1 - constant) + constant / 2
        return -(t * np.log(y) + (1 - t) * np.log(1 - y)), (y - t) / (y * (1 - y))
    if name == "kl":
        t = np.clip(t, CLIP, 1)
        return t * np.log(t / y), -t / y
    t = t * (1 - constant) + constant / t.shape[1]
    return -t * np.log(y), -t / y


def step_of(case, batch, params, statistics, kinks):
    """The loss, penalty included, and the gradients; moves running statistics."""
    entered, backs, slopes = [batch.x], [], []
    owned = by_layer(case.layers, params)
    for number, layer in enumerate(case.layers):
        z, back = kind(layer, entered[-1], owned[number], statistics.get(number))
        if layer.residual:
            z = z + entered[number - layer.residual + 1]
        y, slope = activate(layer.activation, layer.constant, z, kinks)
        entered.append(y * batch.factors.get(number, 1))
        backs.append(back)
        slopes.append(slope)

    y = entered[-1]
    one_hot = np.eye(y.shape[1])[batch.t] if case.loss == "ce_class" else batch.t
    weights = batch.weights if case.class_weights is None else np.array(case.class_weights)[batch.t]
    mask = np.ones(y.shape) if batch.mask is None else batch.mask
    terms, d = loss_of(case.loss, case.constant, y, one_hot, kinks, mask > 0)
    each = mask * (1 if weights is None else weights[:, None])
    left = mask.any(1).sum() if case.loss in PER_SAMPLE else mask.sum()
    left = 2 * len(y) if case.loss == "half_mse" else left
    loss = (terms * each).sum() / left

    entered_d = [np.zeros_like(values) for values in entered]
    entered_d[-1] += d * each / left
    gradients = []
    for number in reversed(range(len(case.layers))):
        layer = case.layers[number]
        d = slopes[number](entered_d[number + 1] * batch.factors.get(number, 1))
        if layer.residual:
            entered_d[number - layer.residual + 1] += d
        d, of_params = backs[number](d)
        entered_d[number] += d
        if of_params and (layer.l1 or layer.l2):
            w = owned[number][0]
            if layer.l1:
                kinks.see("l1", w)
            loss += layer.l1 * np.abs(w).sum() + layer.l2 / 2 * (w * w).sum()
            of_params[0] = of_params[0] + layer.l1 * np.sign(w) + layer.l2 * w
        gradients = of_params + gradients
    return loss, gradients


def run(case, framework, batches, params, statistics):
    """Losses, parameters, statistics and kinks of a run in float64, its optimizer as `framework` has it."""
    params = [p.astype(np.float64) for p in params]
    statistics = {number: [s.astype(np.float64) for s in of] for number, of in statistics.items()}
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    losses, kinks = [], Kinks()
    for step, batch in enumerate(batches):
        loss, gradients = step_of(case, batch.astype(np.float64), params, statistics, kinks)
        losses.append(loss)
        plain_update(case.optimizer, case.settings, framework, step, params, gradients, first, second)
    return np.array(losses), params, statistics, kinks
