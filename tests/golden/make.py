"""Makes the golden training runs of this directory: 50 steps of small networks in PyTorch and in Keras (on JAX).

    python3 -m venv V && V/bin/pip install -r requirements.txt && V/bin/python make.py

Each file is one run, `FRAMEWORK_CASE_OPTIMIZER.txt`, with lines `key value ...`:

    framework        name and version
    inputs           features per sample
    layers           width and activation of each dense layer; leaky_relu has slope 0.01
    loss             with n samples of o outputs y, targets t, and z the last pre-activations:
                     half_mse   sum (y - t)^2 / 2n
                     mse        sum (y - t)^2 / (n o)
                     bce        sum (softplus(z) - t z) / (n o); the last activation is sigmoid
                     ce_class   sum (logsumexp(z) - z[t]) / n, t a class index; the last activation is softmax
                     ce_onehot  the same, t one-hot
    optimizer        sgd rate | momentum rate mu | nesterov rate mu | adam rate beta1 beta2 epsilon.
                     momentum: v = mu v + g, w -= rate v; nesterov: w -= rate (g + mu v).
                     Adam's epsilon: w -= rate m' / (sqrt(v') + epsilon) in torch, with m' = m / (1 - beta1^step) and
                     v' = v / (1 - beta2^step); w -= rate m' / (sqrt(v') + epsilon / sqrt(1 - beta2^step)) in keras.
    batch, batches   samples per batch, stored batches; step s = 0, 1, ... trains on batch s mod batches
    x, t             inputs [batches * batch x inputs] and targets, row-major
    initial          parameters: for each layer weights [in x out] row-major, then bias [out]
    losses           the framework's float64 loss of each step, before the step's update
    final            the framework's float64 parameters after the last step
    f32_loss_distance, f32_final_distance
                     largest difference and Euclidean norm of the differences between `losses` (`final`) and the
                     framework's own float32 run
    f32_loss_distance_of_5, f32_final_distance_of_5
                     the medians of these over 5 float32 runs, each with the rows of every batch in another order

Inputs, targets and initial parameters are float32 numbers; the other numbers are float64. Every float64 run is checked
against the plain numpy loop below. Single thread, CPU, a minute in all. On another CPU the float64 numbers may differ
in their last bits and the float32 distances by more. Keras computes 1 - beta2^step in float32, so that its float32 Adam
is 13 to 50 times as far from float64 as torch's.
"""

from pathlib import Path

from training import (  # first: it sets Keras's environment
    AGREEMENT,
    BATCH,
    BATCHES,
    EPSILON,
    KINK,
    OPTIMIZERS,
    check_keras_precision,
    distance,
    flat,
    framework_line,
    keras_optimizer,
    optimizer_line,
    orders,
    plain_update,
    rows_of,
    set_keras_precision,
    torch_optimizer,
    write,
)

import keras
import numpy as np
import torch

STEPS, SLOPE = 50, 0.01

CASES = {  # loss, seed, inputs, layers
    "half_mse": ("half_mse", 1, 5, [(7, "tanh"), (3, "linear")]),
    "mse": ("mse", 12, 5, [(9, "leaky_relu"), (3, "tanh")]),
    "mse_sigmoid": ("mse", 2, 7, [(5, "sigmoid"), (3, "sigmoid")]),
    "bce": ("bce", 15, 6, [(9, "relu"), (2, "sigmoid")]),
    "ce_class": ("ce_class", 11, 6, [(9, "relu"), (5, "tanh"), (4, "softmax")]),
    "ce_onehot": ("ce_onehot", 7, 5, [(9, "tanh"), (7, "relu"), (3, "softmax")]),
}


def data(loss, seed, inputs, layers):
    """Inputs, targets of a random linear teacher in the last layer's range, and initial parameters, all float32."""
    rng = np.random.default_rng(seed)
    outputs, last = layers[-1]
    x = rng.normal(size=(BATCHES * BATCH, inputs)).astype(np.float32)
    taught = x @ rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
    if loss == "ce_class":
        t = taught.argmax(1)
    elif loss == "ce_onehot":
        t = np.eye(outputs)[taught.argmax(1)]
    elif loss == "bce":
        t = taught > 0
    else:
        t = {"linear": taught, "tanh": np.tanh(taught), "sigmoid": 1 / (1 + np.exp(-taught))}[last]
    params = []
    for width, _ in layers:
        limit = np.sqrt(6 / (inputs + width))
        params += [rng.uniform(-limit, limit, (inputs, width)), rng.uniform(-0.3, 0.3, width)]
        inputs = width
    return x, t.astype(np.int32 if loss == "ce_class" else np.float32), [p.astype(np.float32) for p in params]


def plain(loss, layers, optimizer, settings, framework, x, t, params, dtype=np.float64):
    """The run as plain loops over numpy arrays; returns losses, parameters and how near to 0 a relu's input came."""
    x, params = x.astype(dtype), [p.astype(dtype) for p in params]
    t = np.eye(layers[-1][0], dtype=dtype)[t] if loss == "ce_class" else t.astype(dtype)
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    losses, nearest = [], np.inf
    for step in range(STEPS):
        rows = rows_of(step)
        ys, slopes = [x[rows]], []
        for (_, activation), w, b in zip(layers, params[::2], params[1::2]):
            z = ys[-1] @ w + b
            if activation in ("relu", "leaky_relu"):
                nearest = min(nearest, np.abs(z).min())
                slope = np.where(z > 0, 1, SLOPE if activation == "leaky_relu" else 0).astype(dtype)
                y = z * slope
            elif activation == "tanh":
                y = np.tanh(z)
                slope = 1 - y * y
            elif activation == "sigmoid":
                y = 1 / (1 + np.exp(-z))
                slope = y * (1 - y)
            elif activation == "softmax":
                y = np.exp(z - z.max(1, keepdims=True))
                y /= y.sum(1, keepdims=True)
            else:
                y, slope = z, np.ones_like(z)
            ys.append(y)
            slopes.append(slope)
        target = t[rows]
        if loss == "half_mse":
            losses.append(((y - target) ** 2).sum() / (2 * BATCH))
            delta = (y - target) / BATCH * slope
        elif loss == "mse":
            losses.append(((y - target) ** 2).mean())
            delta = 2 * (y - target) / y.size * slope
        elif loss == "bce":
            losses.append((np.logaddexp(0, z) - target * z).mean())
            delta = (y - target) / y.size
        else:
            losses.append(-(target * np.log(y)).sum() / BATCH)
            delta = (y - target) / BATCH
        gradients = []
        for layer in reversed(range(len(layers))):
            gradients = [ys[layer].T @ delta, delta.sum(0)] + gradients
            if layer:
                delta = (delta @ params[2 * layer].T) * slopes[layer - 1]
        plain_update(optimizer, settings, framework, step, params, gradients, first, second)
    return np.array(losses), params, nearest


def torch_run(loss, layers, optimizer, settings, x, t, params, dtype):
    dtype = getattr(torch, dtype)
    modules, inputs = [], x.shape[1]
    for (width, activation), w, b in zip(layers, params[::2], params[1::2]):
        linear = torch.nn.Linear(inputs, width, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w.T))
            linear.bias.copy_(torch.tensor(b))
        modules.append(linear)
        if activation == "leaky_relu":
            modules.append(torch.nn.LeakyReLU(SLOPE))
        elif activation in ("relu", "tanh", "sigmoid") and not (loss == "bce" and width == layers[-1][0]):
            modules.append({"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}[activation]())
        inputs = width
    model = torch.nn.Sequential(*modules)
    loss_of = {
        "half_mse": lambda y, t: ((y - t) ** 2).sum() / (2 * BATCH),
        "mse": torch.nn.MSELoss(),
        "bce": torch.nn.BCEWithLogitsLoss(),
    }.get(loss, torch.nn.CrossEntropyLoss())
    update = torch_optimizer(optimizer, settings, model.parameters())
    x = torch.tensor(x).to(dtype)
    t = torch.tensor(t, dtype=torch.int64) if loss == "ce_class" else torch.tensor(t).to(dtype)
    losses = []
    for step in range(STEPS):
        rows = rows_of(step)
        update.zero_grad()
        value = loss_of(model(x[rows]), t[rows])
        value.backward()
        update.step()
        losses.append(value.item())
    assert value.dtype == dtype
    return np.array(losses), [p.detach().numpy().T for p in model.parameters()]


def keras_run(loss, layers, optimizer, settings, x, t, params, dtype):
    set_keras_precision(dtype)
    model = keras.Sequential([keras.Input(x.shape[1:])])
    for width, activation in layers:
        fused = activation == "softmax" or (loss == "bce" and activation == "sigmoid")
        leaky = activation == "leaky_relu"
        model.add(keras.layers.Dense(width, None if leaky or fused else activation))
        if leaky:
            model.add(keras.layers.LeakyReLU(SLOPE))
    model.set_weights(params)
    loss_of = {
        "half_mse": lambda t, y: keras.ops.sum((y - t) ** 2) / (2 * BATCH),
        "mse": keras.losses.MeanSquaredError(),
        "bce": keras.losses.BinaryCrossentropy(from_logits=True),
        "ce_class": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "ce_onehot": keras.losses.CategoricalCrossentropy(from_logits=True),
    }[loss]
    update = keras_optimizer(optimizer, settings)
    model.compile(update, loss_of)
    x, t = x.astype(dtype), t if loss == "ce_class" else t.astype(dtype)
    losses = []
    for step in range(STEPS):
        rows = rows_of(step)
        losses.append(float(model.train_on_batch(x[rows], t[rows])))
    final = model.get_weights()
    check_keras_precision(dtype, final, update)
    return np.array(losses), final


def make(case, optimizer, framework):
    loss, seed, inputs, layers = CASES[case]
    settings = OPTIMIZERS[optimizer]
    x, t, params = data(loss, seed, inputs, layers)
    train = {"torch": torch_run, "keras": keras_run}[framework]
    run = lambda x, t, dtype: train(loss, layers, optimizer, settings, x, t, params, dtype)

    losses, final = run(x, t, "float64")
    plain_losses, plain_final, nearest = plain(loss, layers, optimizer, settings, framework, x, t, params)
    assert losses.dtype == np.float64 and all(p.dtype == np.float64 for p in final)
    assert nearest > KINK, f"{case} {optimizer}: a relu's input came within {nearest:.1e} of 0, take another seed"
    for golden, check in zip([losses, *final], [plain_losses, *plain_final]):
        assert golden.shape == check.shape and np.abs(golden - check).max() < AGREEMENT, (case, optimizer, framework)

    def distances(x, t):
        losses32, final32 = run(x, t, "float32")
        return distance(losses32, losses), distance(flat(final32), flat(final))

    once = distances(x, t)
    of_5 = np.median([distances(x[order], t[order]) for order in map(orders, range(5))], axis=0)

    lines = {
        "framework": framework_line(framework),
        "inputs": [inputs],
        "layers": [word for layer in layers for word in layer],
        "loss": [loss],
        "optimizer": optimizer_line(framework, optimizer, settings),
        "batch": [BATCH],
        "batches": [BATCHES],
        "x": x.ravel(),
        "t": t.ravel(),
        "initial": flat(params),
        "losses": losses,
        "final": flat(final),
        "f32_loss_distance": once[0],
        "f32_final_distance": once[1],
        "f32_loss_distance_of_5": of_5[0],
        "f32_final_distance_of_5": of_5[1],
    }
    write(Path(__file__).with_name(f"{framework}_{case}_{optimizer}.txt"), lines)


if __name__ == "__main__":
    for framework in EPSILON:
        for case in CASES:
            for optimizer in OPTIMIZERS:
                print(framework, case, optimizer, flush=True)
                make(case, optimizer, framework)
