"""The cases of `make_layers.py`: networks, losses and optimizers, and their data."""

from dataclasses import dataclass, field

from training import AGREEMENT, BATCH, BATCHES, OPTIMIZERS, rows_of, set_keras_precision  # first: Keras's environment

import keras
import numpy as np
from network import dropout_factors, parse
from plain_network import PER_SAMPLE, Kinks, activate

STEPS = 30
DROPOUT_SEED = 0x0123456789ABCDEF


@dataclass(frozen=True)
class Case:
    seed: int
    optimizer: str
    loss_words: str
    inputs: int
    words: str
    categories: dict = field(default_factory=dict)  # of columns
    spread: float = 1.0  # of inputs
    weighted: bool = False
    masked: bool = False
    class_weights: tuple | None = None

    @property
    def layers(self):
        return parse(self.inputs, self.words)

    @property
    def loss(self):
        return self.loss_words.split()[0]

    @property
    def constant(self):
        return float((self.loss_words.split() + ["0"])[1])

    @property
    def settings(self):
        return OPTIMIZERS[self.optimizer]

    @property
    def is_fused(self):
        return self.loss in ("bce", "ce_class", "ce_onehot")

    @property
    def has_term_per_output(self):
        return self.loss not in PER_SAMPLE


@dataclass
class Batch:
    """What one step trains on."""

    x: np.ndarray
    t: np.ndarray
    weights: np.ndarray | None
    mask: np.ndarray | None
    factors: dict  # of dropout, by number of layer

    def map(self, f):
        """`f` of each array."""
        some = lambda a: None if a is None else f(a)
        factors = {number: f(a) for number, a in self.factors.items()}
        return Batch(f(self.x), f(self.t), some(self.weights), some(self.mask), factors)

    def astype(self, dtype):
        return self.map(lambda a: a if a.dtype.kind == "i" else a.astype(dtype))


CASES = {
    "mae": Case(1, "sgd", "mae", 5, "dense:7:elu=0.75 dense:5:selu dense:3:linear"),
    "huber": Case(2, "momentum", "huber 0.75", 5, "dense:8:gelu dense:6:gelu_tanh dense:1:linear"),
    "log_cosh": Case(1, "adam", "log_cosh", 5, "dense:7:silu dense:5:mish dense:3:softsign", weighted=True),
    "quantile": Case(1, "sgd", "quantile 0.25", 5, "dense:7:softplus dense:2:linear"),
    "bce_probabilities": Case(
        2,
        "momentum",
        "bce_probabilities",
        5,
        "dense:7:hard_swish dense:6:hard_sigmoid dense:2:sigmoid",
        {},
        2.5,
        masked=True,
    ),
    "ce_smoothed": Case(
        1, "adam", "ce_onehot 0.125", 6, "dense:9:softsign dense:4:softmax", weighted=True, masked=True
    ),
    "ce_class_smoothed": Case(3, "sgd", "ce_class 0.25", 5, "dense:8:elu=1 dense:4:softmax", weighted=True),
    "ce_probabilities": Case(1, "momentum", "ce_probabilities", 5, "dense:17:selu dense:3:softmax"),
    "residual": Case(
        1,
        "sgd",
        "ce_class",
        6,
        "dense:6:gelu:residual=1 dense:6:tanh dense:6:silu:residual=2 dense:5:mish activation:tanh "
        "dense:6:linear:residual=3 dense:3:softmax",
        class_weights=(0.5, 2.0, 1.25),
    ),
    "hinge": Case(1, "momentum", "hinge", 5, "dense:7:softsign activation:leaky_relu=0.125 dense:2:linear"),
    "kl": Case(1, "adam", "kl", 5, "dense:8:linear:nobias rms_norm:silu dense:4:softmax"),
    "poisson": Case(
        1, "sgd", "poisson", 5, "embedding:1:4:3 embedding:5:3:2 dense:7:softplus dense:2:softplus", {1: 4, 3: 3}
    ),
    "penalties": Case(
        1,
        "momentum",
        "mse",
        5,
        "embedding:0:3:2:l2=0.125 dense:7:tanh:l1=0.0078125 dense:5:silu:l2=0.0625 "
        "dense:3:gelu:l1=0.00390625:l2=0.03125",
        {0: 3},
    ),
    "layer_norm": Case(1, "adam", "half_mse", 5, "normalization dense:7:linear:nobias layer_norm:gelu dense:3:silu"),
    "batch_norm": Case(1, "sgd", "mse", 4, "dense:18:linear:nobias batch_norm:tanh dense:3:linear batch_norm:linear"),
    "dropout": Case(
        1,
        "momentum",
        "mse",
        6,
        "activation:linear:dropout=0.25 dense:8:leaky_relu=0.125:dropout=0.5 dense:6:tanh:dropout=0.3 dense:2:mish",
    ),
    "mixed": Case(
        1,
        "adam",
        "bce 0.0625",
        5,
        "normalization embedding:2:3:2 embedding:0:4:3 dense:7:linear:nobias:l2=0.03125 batch_norm:silu:dropout=0.25 "
        "dense:6:gelu dense:7:linear:residual=2 layer_norm:linear dense:2:sigmoid",
        {0: 4, 2: 3},
        weighted=True,
    ),
}


def softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def data(case):
    """All samples, random targets that a linear teacher has a say in, initial parameters and statistics, in float32."""
    rng = np.random.default_rng(case.seed)
    samples, layers = BATCHES * BATCH, case.layers
    outputs, last = layers[-1].outputs, layers[-1]
    features = rng.normal(size=(samples, case.inputs))
    normalized = layers[0].kind == "normalization"
    spread = case.spread * (rng.uniform(0.25, 3, case.inputs) if normalized else 1)
    x = features * spread + (rng.uniform(-3, 3, case.inputs) if normalized else 0)
    for column, categories in case.categories.items():
        x[:, column] = rng.permutation(np.arange(samples) % categories)
        features[:, column] = rng.normal(size=categories)[x[:, column].astype(int)]
    x = x.astype(np.float32)

    taught = 1.5 * features @ rng.normal(size=(case.inputs, outputs)) / np.sqrt(case.inputs)
    if case.loss == "ce_class":
        t = taught.argmax(1)
    elif case.loss == "ce_onehot":
        t = np.eye(outputs)[taught.argmax(1)]
    elif case.loss in ("kl", "ce_probabilities"):
        t = softmax(taught)
        t[t < 0.1] = 0  # is clipped in kl
        t /= t.sum(1, keepdims=True)
    elif case.loss in ("bce", "bce_probabilities"):
        t = np.where(rng.uniform(size=taught.shape) < 0.25, 1 / (1 + np.exp(-taught)), taught > 0)
    elif case.loss == "hinge":
        t = np.where(taught > 0, 1, -1)
    elif case.loss == "poisson":
        t = rng.poisson(np.exp(taught))
    else:
        t, _ = activate(last.activation, last.constant, taught, Kinks())
    t = t.astype(np.int32 if case.loss == "ce_class" else np.float32)

    params, statistics = [], {}
    for number, layer in enumerate(layers):
        if layer.kind == "dense":
            limit = np.sqrt(6 / (layer.inputs + layer.outputs))
            limits = [(-limit, limit), (-0.3, 0.3)]
        else:
            limits = [(-0.8, 0.8)] if layer.kind == "embedding" else [(0.5, 1.5), (-0.3, 0.3)]
        params += [rng.uniform(*limit, shape) for limit, shape in zip(limits, layer.shapes)]
        if layer.kind == "batch_norm":
            statistics[number] = [rng.uniform(-0.3, 0.3, layer.inputs), rng.uniform(0.5, 1.5, layer.inputs)]
        elif layer.kind == "normalization":
            statistics[number] = adapted(x, case.categories)
    to_f32 = lambda arrays: [a.astype(np.float32) for a in arrays]
    extras = {
        "weights": rng.uniform(0.25, 2, samples).astype(np.float32) if case.weighted else None,
        "mask": mask(case, rng, samples, outputs) if case.masked else None,
    }
    return x, t, extras, to_f32(params), {number: to_f32(of) for number, of in statistics.items()}


def mask(case, rng, samples, outputs):
    kept = rng.uniform(size=(samples, outputs if case.has_term_per_output else 1)) < 0.7
    return np.broadcast_to(kept, (samples, outputs)).astype(np.float32)


def adapted(x, categories):
    """Mean and scale of each column as Keras adapts them; categories pass."""
    x = x.astype(np.float64)
    set_keras_precision("float64")
    layer = keras.layers.Normalization()
    layer.adapt(x)
    mean, scale = np.array(layer.mean).ravel(), 1 / np.sqrt(np.array(layer.variance).ravel())
    assert np.abs(mean - x.mean(0)).max() < AGREEMENT and np.abs(scale - 1 / x.std(0)).max() < AGREEMENT
    for column in categories:
        mean[column], scale[column] = 0, 1
    return [mean, scale]


def batches(case, x, t, extras, order):
    """What each step trains on, the samples taken in this order within their batches."""
    for step in range(STEPS):
        rows = order[rows_of(step)]
        weights, mask = (None if extras[key] is None else extras[key][rows] for key in ("weights", "mask"))
        factors = {
            number: dropout_factors(DROPOUT_SEED, step, number, layer.dropout, BATCH, layer.outputs)[rows % BATCH]
            for number, layer in enumerate(case.layers)
            if layer.dropout
        }
        yield Batch(x[rows], t[rows], weights, mask, factors)
