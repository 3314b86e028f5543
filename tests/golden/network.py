"""The networks of `make_layers.py`: what the words of a `layers` line mean, and dropout's masks."""

from dataclasses import dataclass

import numpy as np

NORMS = ("layer_norm", "rms_norm", "batch_norm")
EPSILON = 1e-5  # of all three
MOMENTUM = 0.1  # of batch_norm: running = (1 - MOMENTUM) * running + MOMENTUM * batch


@dataclass(frozen=True)
class Layer:
    kind: str
    inputs: int
    outputs: int
    activation: str = "linear"
    constant: float = 0.0  # elu's alpha, leaky_relu's slope
    column: int = 0
    categories: int = 0
    bias: bool = True
    residual: int = 0
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0

    @property
    def shapes(self):
        """Shapes of its parameters, in their order."""
        return {
            "dense": [(self.inputs, self.outputs), (self.outputs,)][: 1 + self.bias],
            "layer_norm": [(self.outputs,)] * 2,
            "batch_norm": [(self.outputs,)] * 2,
            "rms_norm": [(self.outputs,)],
            "embedding": [(self.categories, self.outputs - self.inputs + 1)],
        }.get(self.kind, [])

    @property
    def has_statistics(self):
        return self.kind in ("batch_norm", "normalization")


def parse(inputs, words):
    """The layers of a `layers` line, here one string."""
    layers = []
    for word in words.split():
        kind, *rest = word.split(":")
        values, outputs = {}, inputs
        if kind == "dense":
            outputs = int(rest.pop(0))
        elif kind == "embedding":
            values["column"], values["categories"], dimensions = (int(rest.pop(0)) for _ in range(3))
            outputs = inputs - 1 + dimensions
        if kind in ("dense", "activation", *NORMS):
            values["activation"], _, constant = rest.pop(0).partition("=")
            values["constant"] = float(constant or 0)
        for attribute in rest:
            name, _, value = attribute.partition("=")
            values["bias" if name == "nobias" else name] = {
                "nobias": lambda _: False,
                "residual": int,
                "dropout": float,
                "l1": float,
                "l2": float,
            }[name](value)
        layers.append(Layer(kind, inputs, outputs, **values))
        inputs = outputs
    return layers


def by_layer(layers, params):
    """The parameters of each layer."""
    remaining = iter(params)
    return [[next(remaining) for _ in layer.shapes] for layer in layers]


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): four words for each block. `counter`: 4 arrays [n]; `key`: 2 numbers."""
    low = np.uint64(0xFFFFFFFF)
    c, (k0, k1) = [np.array(word, np.uint64) for word in counter], key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1)


def dropout_factors(seed, step, layer, rate, samples, width):
    """What dropout multiplies the values [samples x width] of layer number `layer` by: 0 or 1 / (1 - rate).

    Element e = sample * width + unit has word e % 4 of block e / 4; float32 throughout.
    """
    blocks = np.arange(-(-samples * width // 4))
    one = np.ones_like(blocks)
    counter = [blocks, one * (step & 0xFFFFFFFF), one * (step >> 32), one * (0x40000000 | layer)]
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32)).ravel()[: samples * width].astype(np.uint32)
    uniform = (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    rate = np.float32(rate)
    factor = np.where(uniform >= rate, np.float32(1) / (np.float32(1) - rate), np.float32(0))
    return factor.astype(np.float32).reshape(samples, width)


def check_philox():
    """The known answers that come with the authors' library (Random123, kat_vectors)."""
    ones = 0xFFFFFFFF
    counters = [[0, ones, 0x243F6A88], [0, ones, 0x85A308D3], [0, ones, 0x13198A2E], [0, ones, 0x03707344]]
    answers = [
        [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ]
    for i, key in enumerate([(0, 0), (ones, ones), (0xA4093822, 0x299F31D0)]):
        assert philox(counters, key)[i].tolist() == answers[i]
