"""Two texts -> normalised indel and longest-common-subsequence similarity, computed by RapidFuzz.

    indel = 2 L / (|a| + |b|)        lcs = L / max(|a|, |b|)

L is the length of the longest common subsequence over code points: the most characters that can be kept, in order and
with gaps, when one text is changed into the other by inserting and deleting. How they differ from the paper's number,
2 M / T: matching blocks are found greedily, the longest first, which bars the way to others; L is the best of all
choices, so ``indel`` is never below the sequence similarity, symmetric, and counts scattered single letters for which
matching blocks find no place. ``lcs`` divides by the longer text, so an action cannot gain by being short.

The decision a reader would question: two names for one count. They rank actions of one length in the same order; they
differ in what an action pays for being longer or shorter than its target.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from srl.rewards.extras import import_extra


def indel_similarity(action: str, target: str) -> float:
    """2 L / T, in [0, 1]; 1.0 for two empty texts. Raises ConfigError without RapidFuzz.

    >>> indel_similarity("x = 42", "x = 43")
    0.8333333333333334
    """
    return 1.0 if action == target else float(_distances().Indel.normalized_similarity(action, target))


def lcs_similarity(action: str, target: str) -> float:
    """L / max(|action|, |target|), in [0, 1]; 1.0 for two empty texts. Raises ConfigError without RapidFuzz.

    >>> lcs_similarity("x = 42", "so x = 42")
    0.6666666666666667
    """
    return 1.0 if action == target else float(_distances().LCSseq.normalized_similarity(action, target))


@cache
def _distances() -> Any:
    return import_extra("rapidfuzz.distance", extra="similarities")
