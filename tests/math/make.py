"""Writes table.txt: inputs and their correctly rounded results, by MPFR.

    python3 -m venv venv && venv/bin/pip install gmpy2==2.3.2 && venv/bin/python tests/math/make.py

For each function the inputs are, of 100,000 drawn by a seeded generator from where the function
is neither constant nor the identity, the 250 whose results lie nearest to the middle of two
neighbouring numbers (the hardest to round), the first 100 as they come, and some by hand.
A line is: function, bits of the input, bits of the result.
"""

import pathlib
import random
import struct

import gmpy2
from gmpy2 import mpfr

EXACT = gmpy2.context(precision=400, emin=-100_000, emax=100_000)
SINGLE = gmpy2.context(precision=24, emin=-148, emax=128, subnormalize=True)


def sigmoid(x):
    return 1 / (1 + gmpy2.exp(-x))


def softplus_of_negative(x):
    return gmpy2.log1p(gmpy2.exp(-abs(x)))


def softplus(x):
    return x + softplus_of_negative(x) if x > 0 else gmpy2.log1p(gmpy2.exp(x))


def times(x, factor):
    """x times a factor that is 0 at −∞, where the product's limit is −0."""
    return mpfr("-0") if x == float("-inf") else x * factor


def silu(x):
    return times(x, sigmoid(x))


def gelu(x):
    return times(x, gmpy2.erfc(-x / gmpy2.sqrt(mpfr(2))) / 2)


def gelu_tanh(x):
    if gmpy2.is_infinite(x):
        return x if x > 0 else mpfr("-0")
    # ½(1 + tanh u) = sigmoid(2u), without cancellation.
    u = gmpy2.sqrt(2 / gmpy2.const_pi()) * (x + mpfr(44715) / 1_000_000 * x * x * x)
    return x * sigmoid(2 * u)


def mish(x):
    return times(x, gmpy2.tanh(softplus(x)))


def softsign(x):
    return gmpy2.sign(x) if gmpy2.is_infinite(x) else x / (1 + abs(x))


def hard_sigmoid(x):
    return min(max(x + 3, mpfr(0)), mpfr(6)) / 6


def hard_swish(x):
    return times(x, hard_sigmoid(x))


# The function, and the magnitudes and signs to draw from.
FUNCTIONS = {
    "exp": (gmpy2.exp, (2**-24, 104), (1, -1)),
    "ln": (gmpy2.log, (2**-149, 2**128), (1,)),
    "tanh": (gmpy2.tanh, (2**-12, 9.1), (1, -1)),
    "sigmoid": (sigmoid, (2**-24, 104), (1, -1)),
    "softplus_of_negative": (softplus_of_negative, (2**-24, 104), (1, -1)),
    "expm1": (gmpy2.expm1, (2**-24, 88), (1, -1)),
    "softplus": (softplus, (2**-24, 104), (1, -1)),
    "silu": (silu, (2**-24, 108), (1, -1)),
    "gelu": (gelu, (2**-24, 14.4), (1, -1)),
    "gelu_tanh": (gelu_tanh, (2**-24, 10.8), (1, -1)),
    "mish": (mish, (2**-24, 108), (1, -1)),
    "softsign": (softsign, (2**-24, 2**24), (1, -1)),
    "hard_sigmoid": (hard_sigmoid, (2**-24, 3), (1, -1)),
    "hard_swish": (hard_swish, (2**-24, 3), (1, -1)),
}
BY_HAND = [0.0, 1.0, 2.0, 0.5, 0.1, 10.0, 88.0, 100.0, 2**-149, 2**-127, 2**-126, 2**-24, 2**-12, 3.4e38]


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def single(b):
    return struct.unpack("<f", struct.pack("<I", b))[0]


def rounded(exact):
    with gmpy2.context(SINGLE):
        return +exact


def result(function, x):
    """The correctly rounded result, and how far the exact one is from a tie (0) to a number (1)."""
    with gmpy2.context(EXACT):
        exact = function(mpfr(x))
    near = rounded(exact)
    if not gmpy2.is_finite(near) or near == 0:
        return float(near), 1.0
    b = bits(float(near))
    with gmpy2.context(EXACT):
        error = exact - near
        away = abs(exact) > abs(near)
        neighbour = mpfr(single(b + 1 if away else b - 1)) if (b & 0x7FFFFFFF) < 0x7F7FFFFF else near
        gap = abs(neighbour - near)
        return float(near), float(1 - 2 * abs(error) / gap) if gap else 1.0


def main():
    random.seed(20_240_229)
    lines = []
    for name, (function, (low, high), signs) in FUNCTIONS.items():
        drawn = []
        while len(drawn) < 100_000:
            x = single(random.randint(bits(low), bits(high) if high < 2**128 else 0x7F7FFFFF)) * random.choice(signs)
            drawn.append((x, *result(function, x)))
        hardest = sorted(drawn, key=lambda d: d[2])[:250]
        by_hand = [sign * single(bits(x)) for x in BY_HAND for sign in (1, -1)] + [float("inf"), float("-inf")]
        by_hand = [(x, *result(function, x)) for x in by_hand]
        for x, y, _ in hardest + drawn[:100] + by_hand:
            b = "nan" if y != y else f"{bits(y):08x}"
            lines.append(f"{name} {bits(x):08x} {b}\n")
    pathlib.Path(__file__).with_name("table.txt").write_text("".join(lines))


main()
