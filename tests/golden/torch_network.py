"""The runs of `make_layers.py` in PyTorch: its own functions where it has them, its autograd always."""

from math import log

import numpy as np
import torch
import torch.nn.functional as F
from network import EPSILON, MOMENTUM, by_layer
from training import torch_optimizer


def activate(name, constant, z):
    return {
        "linear": lambda: z,
        "relu": lambda: F.relu(z),
        "leaky_relu": lambda: F.leaky_relu(z, constant),
        "sigmoid": lambda: torch.sigmoid(z),
        "tanh": lambda: torch.tanh(z),
        "softmax": lambda: F.softmax(z, dim=1),
        "elu": lambda: F.elu(z, constant),
        "selu": lambda: F.selu(z),
        "gelu": lambda: F.gelu(z),
        "gelu_tanh": lambda: F.gelu(z, approximate="tanh"),
        "silu": lambda: F.silu(z),
        "softplus": lambda: F.softplus(z),
        "softsign": lambda: F.softsign(z),
        # Not F.hardsigmoid, whose derivative has a float32 1/6 even in float64 (torch 2.15).
        "hard_sigmoid": lambda: F.relu6(z + 3) / 6,
        "hard_swish": lambda: F.hardswish(z),
        "mish": lambda: F.mish(z),
    }[name]()


def kind(layer, x, params, statistics):
    """z. Moves running statistics by hand: PyTorch would take the unbiased variance."""
    if layer.kind == "dense":
        return F.linear(x, params[0].T, params[1] if layer.bias else None)
    if layer.kind == "layer_norm":
        return F.layer_norm(x, x.shape[1:], *params, eps=EPSILON)
    if layer.kind == "rms_norm":
        return F.rms_norm(x, x.shape[1:], *params, eps=EPSILON)
    if layer.kind == "batch_norm":
        with torch.no_grad():
            for running, now in zip(statistics, (x.mean(0), x.var(0, unbiased=False)), strict=True):
                running.lerp_(now, MOMENTUM)
        return F.batch_norm(x, None, None, *params, training=True, eps=EPSILON)
    if layer.kind == "normalization":
        mean, scale = statistics
        return (x - mean) * scale
    if layer.kind == "embedding":
        embedded = F.embedding(x[:, layer.column].long(), *params)
        return torch.cat([x[:, : layer.column], embedded, x[:, layer.column + 1 :]], dim=1)
    return x


def loss_of(case, z, y, batch, class_weights):
    """The mean of what the losses say with `reduction="none"`."""
    t, constant, kept = batch.t, case.constant, {"reduction": "none"}
    e = y - t if y.shape == t.shape else None
    terms = {
        "half_mse": lambda: F.mse_loss(y, t, **kept) * y.shape[1] / 2,
        "mse": lambda: F.mse_loss(y, t, **kept),
        "mae": lambda: F.l1_loss(y, t, **kept),
        "huber": lambda: F.huber_loss(y, t, delta=constant, **kept),
        "log_cosh": lambda: e.abs() + F.softplus(-2 * e.abs()) - log(2),
        "quantile": lambda: torch.maximum(-constant * e, (1 - constant) * e),
        "bce": lambda: F.binary_cross_entropy_with_logits(z, t * (1 - constant) + constant / 2, **kept),
        "bce_probabilities": lambda: F.binary_cross_entropy(y.clamp(1e-7, 1 - 1e-7), t, **kept),
        "ce_class": lambda: F.cross_entropy(z, t, weight=class_weights, label_smoothing=constant, **kept),
        "ce_onehot": lambda: F.cross_entropy(z, t, label_smoothing=constant, **kept),
        "ce_probabilities": lambda: -(t * y.clamp(1e-7, 1 - 1e-7).log()).sum(1),
        "hinge": lambda: F.relu(1 - t * y),
        "kl": lambda: F.kl_div(y.clamp(1e-7, 1).log(), t.clamp(1e-7, 1), **kept).sum(1),
        "poisson": lambda: F.poisson_nll_loss(y, t, log_input=False, eps=1e-7, **kept),
    }[case.loss]()
    if batch.weights is not None:
        terms = terms * (batch.weights if terms.dim() == 1 else batch.weights[:, None])
    if batch.mask is None:
        return terms.mean()
    mask = batch.mask.amax(1) if terms.dim() == 1 else batch.mask
    return (terms * mask).sum() / mask.sum()


def penalty_of(layer, params):
    w = params[0]
    return layer.l1 * w.abs().sum() + layer.l2 / 2 * (w * w).sum()


def run(case, batches, params, statistics, dtype):
    """Losses, parameters and statistics."""
    real = getattr(torch, dtype)
    tensor = lambda a: torch.tensor(a, dtype=torch.int64 if a.dtype.kind == "i" else real)
    params = [tensor(p).requires_grad_() for p in params]
    owned = by_layer(case.layers, params)
    statistics = {number: [tensor(s) for s in of] for number, of in statistics.items()}
    class_weights = None if case.class_weights is None else tensor(np.array(case.class_weights))
    update = torch_optimizer(case.optimizer, case.settings, params)
    losses = []
    for batch in batches:
        batch = batch.map(tensor)
        entered = [batch.x]
        for number, layer in enumerate(case.layers):
            z = kind(layer, entered[-1], owned[number], statistics.get(number))
            if layer.residual:
                z = z + entered[number - layer.residual + 1]
            y = activate(layer.activation, layer.constant, z)
            entered.append(y * batch.factors[number] if layer.dropout else y)
        value = loss_of(case, z, y, batch, class_weights)
        for layer, of_layer in zip(case.layers, owned, strict=True):
            if layer.l1 or layer.l2:
                value = value + penalty_of(layer, of_layer)
        update.zero_grad()
        value.backward()
        update.step()
        losses.append(value.item())
    assert value.dtype == real
    return (
        np.array(losses),
        [p.detach().numpy() for p in params],
        {number: [s.numpy() for s in of] for number, of in statistics.items()},
    )
