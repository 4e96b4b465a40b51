"""Pairs of sequences of any length -> sequence similarities in bounded time; what the other similarities are made of.

The one decision a reader would question: what becomes of very long sequences. Only the first ``MAX_SCORED_CHARACTERS``
elements of each are compared; what lies beyond counts as unmatched, as in ``srl.rewards.similarity``'s reward. Equal
sequences are 1.0 at any length.
"""

from __future__ import annotations

from collections.abc import Sequence

from srl.rewards.similarity import MAX_SCORED_CHARACTERS, Text, sequence_similarities


def bounded_similarity(a: Text, b: Text) -> float:
    """The sequence similarity of two texts or lists, in [0, 1].

    >>> bounded_similarity(["x", "=", "42"], ["x", "=", "43"])
    0.6666666666666666
    """
    (similarity,) = bounded_similarities([(a, b)], num_workers=1)
    return similarity


def bounded_similarities(pairs: Sequence[tuple[Text, Text]], *, num_workers: int | None = None) -> list[float]:
    """``bounded_similarity`` of many pairs, on ``num_workers`` threads; None: one for each core."""
    cap = MAX_SCORED_CHARACTERS
    compared = [(a[:cap], b[:cap]) for a, b in pairs]
    similarities = sequence_similarities(compared, num_workers=num_workers)
    return [
        1.0
        if a == b
        else similarity
        if len(a) <= cap and len(b) <= cap
        else similarity * (min(cap, len(a)) + min(cap, len(b))) / (len(a) + len(b))
        for similarity, (a, b) in zip(similarities, pairs, strict=True)
    ]
