"""Two texts -> sequence similarity in [0, 1]; the SRL reward (section 4.2 of the paper, section 4 of docs/method.md).

    similarity = 2 M / T,   T = |a| + |b|,   M = sum of the sizes of the matching blocks

Matching blocks are Ratcliff/Obershelp's, over Unicode code points: the longest contiguous match, then the same left and
right of it. The value equals ``difflib.SequenceMatcher(None, a, b, autojunk=autojunk).ratio()`` bit for bit. Sequences
of tokens (lists of int or str) are compared in the same way, element by element.

The decision a reader would question: ``autojunk`` is off. difflib's default drops every character that makes up more
than 1 % of ``b`` once ``b`` has 200 characters, which is most letters; the formula above has no such rule.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

from srl.types import Reward, Ungraded

Text = str | Sequence[Hashable]
"""What is compared: a string by its code points, any other sequence by its elements."""

MAX_SCORED_CHARACTERS = 10_000
"""A reward compares this many characters (or tokens) of an action and of a target, so that the time for one pair is
bounded; benchmarks/similarity.py measures the worst. ``sequence_similarity`` itself has no limit."""
MIN_PAIRS_PER_THREAD = 16
"""Fewer pairs are not worth a thread."""
MAX_NARROW_NUMBERS = 0xFFFE
_RESERVED = ("\ufffe", "\uffff")  # the two numbers of 16 bits that srl.rewards.matching keeps for itself


def sequence_similarity(a: Text, b: Text, *, autojunk: bool = False) -> float:
    """Ratio of matching elements, in [0, 1]; 1.0 for two empty texts. Not symmetric: ties are broken by ``a`` first.

    >>> sequence_similarity("x = 42", "x = 43")
    0.8333333333333334
    >>> sequence_similarity(["x", "=", "42"], ["x", "=", "43"])
    0.6666666666666666
    """
    if a == b:
        return 1.0
    if len(a) == 0 or len(b) == 0:
        return float(len(a) == len(b))
    total = -1
    if isinstance(a, str) and isinstance(b, str):
        joined = a + b
        width, data = (1, joined.encode()) if joined.isascii() else (2, joined.encode("utf-16-le", "surrogatepass"))
        if len(data) == width * len(joined):
            total = _compiled().count_in_bytes(data, width, len(a), autojunk)
    if total < 0:
        total = _find_blocks(a, b, autojunk=autojunk, wanted=False)[0]
    return 2.0 * total / (len(a) + len(b))


def sequence_similarities(
    pairs: Sequence[tuple[Text, Text]], *, autojunk: bool = False, num_workers: int | None = None
) -> list[float]:
    """``sequence_similarity`` of many pairs, on ``num_workers`` threads; None: one for each core of this process.

    Texts that occur more than once, such as the target of a group's rollouts, are prepared once.

    >>> sequence_similarities([("x = 42", "x = 43"), ("", "")])
    [0.8333333333333334, 1.0]
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; it must be at least 1, or None for one for each core")
    totals = _count_matches(pairs, autojunk=autojunk, num_workers=num_workers or _num_cores())
    lengths = [len(a) + len(b) for a, b in pairs]
    return [2.0 * total / length if length else 1.0 for total, length in zip(totals.tolist(), lengths, strict=True)]


def matching_blocks(a: Text, b: Text, *, autojunk: bool = False) -> list[tuple[int, int, int]]:
    """Blocks ``(i, j, size)`` with ``a[i:i + size] == b[j:j + size]``, ascending, the last one ``(len(a), len(b), 0)``.

    >>> matching_blocks("x = 42", "x = 43")
    [(0, 0, 5), (6, 6, 0)]
    """
    found = _find_blocks(a, b, autojunk=autojunk, wanted=True)[1] if a and b else []
    merged: list[tuple[int, int, int]] = []
    for i, j, size in sorted(found):
        if merged and (merged[-1][0] + merged[-1][2], merged[-1][1] + merged[-1][2]) == (i, j):
            i, j, size = merged[-1][0], merged[-1][1], merged.pop()[2] + size
        merged.append((i, j, size))
    return [*merged, (len(a), len(b), 0)]


def bounded_similarity(a: Text, b: Text, *, autojunk: bool = False) -> float:
    """The sequence similarity in bounded time: what all rewards are made of.

    The first MAX_SCORED_CHARACTERS elements are compared; what lies beyond counts as unmatched. Equal texts are 1.0 at
    any length.
    """
    (similarity,) = bounded_similarities([(a, b)], autojunk=autojunk, num_workers=1)
    return similarity


def bounded_similarities(
    pairs: Sequence[tuple[Text, Text]], *, autojunk: bool = False, num_workers: int | None = None
) -> list[float]:
    """``bounded_similarity`` of many pairs; threads as in ``sequence_similarities``."""
    cap = MAX_SCORED_CHARACTERS
    compared = [(a[:cap], b[:cap]) for a, b in pairs]
    similarities = sequence_similarities(compared, autojunk=autojunk, num_workers=num_workers)
    return [
        1.0
        if a == b
        else similarity
        if len(a) <= cap and len(b) <= cap
        else similarity * (min(cap, len(a)) + min(cap, len(b))) / (len(a) + len(b))
        for similarity, (a, b) in zip(similarities, pairs, strict=True)
    ]


class SimilarityReward:
    """The reward ``(action, target) -> similarity``; see ``similarity_reward``."""

    def __init__(self, *, autojunk: bool, first_argument: Literal["action", "target"]) -> None:
        self._autojunk, self._action_first = autojunk, first_argument == "action"

    def __call__(self, action: str, target: str) -> float:
        """The reward of one action."""
        a, b = (action, target) if self._action_first else (target, action)
        return bounded_similarity(a, b, autojunk=self._autojunk)

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The rewards of many pairs, on all cores."""
        ordered = pairs if self._action_first else [(target, action) for action, target in pairs]
        return [*bounded_similarities(ordered, autojunk=self._autojunk)]


def similarity_reward(*, autojunk: bool, first_argument: Literal["action", "target"]) -> Reward:
    """The paper's reward, bounded; ``first_argument`` says which text is SequenceMatcher's ``a``."""
    return SimilarityReward(autojunk=autojunk, first_argument=first_argument)


def _num_cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _compiled() -> ModuleType:
    """``srl.rewards.matching``, imported late: nothing else in this package needs numba."""
    return importlib.import_module("srl.rewards.matching")


def _find_blocks(a: Text, b: Text, *, autojunk: bool, wanted: bool) -> tuple[int, list[tuple[int, int, int]]]:
    """M and, if ``wanted``, the blocks."""
    symbols = _encode([a, b])
    blocks = np.empty((min(len(a), len(b)) if wanted else 0, 3), np.int64)
    total, num_blocks = _compiled().find_blocks(symbols[: len(a)], symbols[len(a) :], autojunk, blocks)
    return total, [(i, j, size) for i, j, size in blocks[:num_blocks].tolist()]


def _count_matches(pairs: Sequence[tuple[Text, Text]], *, autojunk: bool, num_workers: int) -> NDArray[np.int64]:
    """M of each pair."""
    count_matches = _compiled().count_matches
    ends: dict[Text, int] = {}
    places = np.zeros((len(pairs), 4), np.int64)
    texts: list[Text] = []
    length = 0
    for row, (a, b) in enumerate(pairs):
        for column, text in ((0, a), (2, b)):
            key = text if isinstance(text, str) else tuple(text)
            if key not in ends:
                texts.append(text)
                length += len(text)
                ends[key] = length
            places[row, column : column + 2] = ends[key] - len(text), ends[key]
    symbols = _encode(texts)
    totals = np.zeros(len(pairs), np.int64)
    is_equal = (places[:, :2] == places[:, 2:]).all(axis=1)
    totals[is_equal] = (places[:, 1] - places[:, 0])[is_equal]
    work = (places[:, 1] - places[:, 0]) * (places[:, 3] - places[:, 2])
    order = np.flatnonzero((work > 0) & ~is_equal)
    # The costliest first, so that no thread is left with a long pair at the end; shares of about equal work.
    order = order[np.argsort(-work[order], kind="stable")]
    num_shares = min(8 * num_workers, len(order) // MIN_PAIRS_PER_THREAD) if num_workers > 1 else 1
    shares = [order[start::num_shares] for start in range(num_shares)] if num_shares > 1 else [order]
    if autojunk:  # pairs with the same second text next to each other
        shares = [share[np.argsort(places[share, 2], kind="stable")] for share in shares]
    if len(shares) == 1:
        count_matches(symbols, places, order, autojunk, totals)
        return totals
    with ThreadPoolExecutor(min(num_workers, len(shares))) as threads:  # compiled code holds no lock
        for done in [threads.submit(count_matches, symbols, places, share, autojunk, totals) for share in shares]:
            done.result()
    return totals


def _encode(texts: Sequence[Text]) -> NDArray[Any]:
    """All texts one after the other as numbers: of 16 bits where they fit, else of 32, at about half the speed."""
    if all(isinstance(text, str) for text in texts):
        joined = "".join(cast("Sequence[str]", texts))
        if not any(character in joined for character in _RESERVED):
            data = joined.encode("utf-16-le", "surrogatepass")
            if len(data) == 2 * len(joined):
                return np.frombuffer(data, np.uint16)
        return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    numbers: dict[Hashable, int] = {}
    listed = [numbers.setdefault(element, len(numbers)) for text in texts for element in text]
    return np.array(listed, np.uint16 if len(numbers) <= MAX_NARROW_NUMBERS else np.uint32)
