"""What all golden runs share: settings, the optimizers in numpy, PyTorch and Keras, and how a run becomes a file.

Import this first: Keras reads its settings from the environment.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import keras
import numpy as np
import torch
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

torch.set_num_threads(1)

BATCH, BATCHES = 8, 4
AGREEMENT = 1e-10  # between a framework's float64 run and the one in plain numpy
# Closest that the argument of a function with a kink may come to it, where float32 and float64 could take different
# branches.
KINK = 1e-4

OPTIMIZERS = {"sgd": (0.1,), "momentum": (0.05, 0.9), "nesterov": (0.05, 0.9), "adam": (0.01, 0.9, 0.999)}
EPSILON = {"torch": 1e-8, "keras": 1e-7}


def rows_of(step):
    """The samples that step `step` trains on."""
    return slice(step % BATCHES * BATCH, (step % BATCHES + 1) * BATCH)


def plain_update(optimizer, settings, framework, step, params, gradients, first, second):
    """Updates numpy arrays in place; `first` and `second` are the optimizer's, zero before step 0."""
    rate, *rest = settings
    for p, g, m, v in zip(params, gradients, first, second, strict=True):
        if optimizer == "sgd":
            p -= rate * g
        elif optimizer == "adam":
            beta1, beta2 = rest
            correction1, correction2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
            epsilon = EPSILON[framework]
            if framework == "keras":
                epsilon /= np.sqrt(correction2)
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g * g - v)
            p -= rate / correction1 * m / (np.sqrt(v / correction2) + epsilon)
        else:
            (mu,) = rest
            m *= mu
            m += g
            p -= rate * (g + mu * m if optimizer == "nesterov" else m)


def torch_optimizer(optimizer, settings, params):
    rate, *rest = settings
    if optimizer == "adam":
        return torch.optim.Adam(params, lr=rate, betas=tuple(rest), eps=EPSILON["torch"])
    return torch.optim.SGD(params, lr=rate, momentum=rest[0] if rest else 0, nesterov=optimizer == "nesterov")


def keras_optimizer(optimizer, settings):
    rate, *rest = settings
    if optimizer == "adam":
        return keras.optimizers.Adam(rate, *rest, epsilon=EPSILON["keras"])
    return keras.optimizers.SGD(rate, *rest, nesterov=optimizer == "nesterov")


def set_keras_precision(dtype):
    jax.config.update("jax_enable_x64", dtype == "float64")
    # Keras 3.15 on JAX computes many float64 operations in float32 (its issue 23223); this table is why.
    BIT64_TO_BIT32_DTYPE["float64"] = dtype
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


def check_keras_precision(dtype, params, update):
    assert all(p.dtype == dtype for p in params)
    assert all(v.dtype == dtype for v in update.variables if v.name != "iteration")


def orders(seed):
    """An order of the rows of each batch, as indices into all samples."""
    rng = np.random.default_rng(seed)
    return np.concatenate([b * BATCH + rng.permutation(BATCH) for b in range(BATCHES)])


def flat(params):
    return np.concatenate([p.ravel() for p in params]) if params else np.zeros(0)


def distance(a, b):
    """The largest difference and the Euclidean norm of the differences."""
    d = np.abs(a.astype(np.float64) - b)
    return (d.max(), np.sqrt((d * d).sum())) if d.size else (0.0, 0.0)


def framework_line(framework):
    version = {"torch": torch.__version__.split("+")[0], "keras": f"{keras.__version__} jax {jax.__version__}"}
    return [framework, version[framework]]


def optimizer_line(framework, optimizer, settings):
    return [optimizer, *settings, *((EPSILON[framework],) if optimizer == "adam" else ())]


def write(path, lines):
    path.write_text("".join(" ".join([key, *map(str, values)]) + "\n" for key, values in lines.items()))
