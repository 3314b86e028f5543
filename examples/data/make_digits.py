"""Makes digits.bin, which README.md describes, from the digits that scikit-learn ships.

    python3 -m venv V && V/bin/pip install scikit-learn==1.9.1 && V/bin/python make_digits.py
"""

import hashlib
from pathlib import Path

from sklearn.datasets import load_digits

digits = load_digits()
packed = bytearray()
for image, label in zip(digits.images.astype(int), digits.target):
    for row in image:
        bits = sum(int(pixel) << 5 * column for column, pixel in enumerate(row))
        packed += bits.to_bytes(5, "little")
    packed.append(label)
assert len(packed) == 1797 * 41
Path(__file__).with_name("digits.bin").write_bytes(packed)
print(hashlib.sha256(packed).hexdigest(), "digits.bin")
