"""Seeds as a pure function of where they are used, in place of random state that is carried along.

``derive_seed(seed, "srl", update, draw)`` gives every random choice its own seed. Nothing has to be saved to resume a
run in its middle, and an evaluation between two updates cannot shift the numbers that follow it.
"""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**31) that depends on all parts and their order, the same on every machine.

    >>> derive_seed(0, "srl", 1) == derive_seed(0, "srl", 1) != derive_seed(0, "srl", 2)
    True
    """
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
