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


# The function, and the magnitudes and signs to draw from.
FUNCTIONS = {
    "exp": (gmpy2.exp, (2**-24, 104), (1, -1)),
    "ln": (gmpy2.log, (2**-149, 2**128), (1,)),
    "tanh": (gmpy2.tanh, (2**-12, 9.1), (1, -1)),
    "sigmoid": (sigmoid, (2**-24, 104), (1, -1)),
    "softplus_of_negative": (softplus_of_negative, (2**-24, 104), (1, -1)),
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
