"""The sample -> reward by the length of the action, and what autojunk takes away at 200 characters.

The length of an action is measured in lengths of its target, so that long and short steps stand in one table; whole
solutions whose target is an answer are put into four bins of about equal size instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from srl.diagnosis.records import CliffRow, LengthBin
from srl.diagnosis.sample import Sample, estimate
from srl.rewards.similarity import bounded_similarities
from srl.saved_run.settings import StageSettings
from srl.signals.measures import JUNK_LENGTH

_RATIOS = (
    (0.5, "under 0.5 targets"),
    (0.8, "0.5 to 0.8 targets"),
    (1.25, "0.8 to 1.25 targets"),
    (2.0, "1.25 to 2 targets"),
    (4.0, "2 to 4 targets"),
    (math.inf, "4 targets and more"),
)
_EDGE = 50
"""Width in characters of the two rows beside the cliff."""


def reward_by_length(sample: Sample, settings: StageSettings) -> tuple[LengthBin, ...]:
    """Mean reward of the well-formed, graded actions of each length, bins without any left out."""
    lengths = [
        [
            (len(action) if settings.target == "answer" else len(action) / max(1, len(group.target)), reward)
            for action, reward in zip(group.actions, group.rewards, strict=True)
            if reward is not None
        ]
        for group in sample.actions
    ]
    edges = _quartiles(sorted(length for group in lengths for length, _ in group))
    if settings.target != "answer":
        edges = _RATIOS
    bins: list[LengthBin] = []
    low = 0.0
    for high, label in edges:
        found = estimate([[reward for length, reward in group if low <= length < high] for group in lengths])
        if found is not None:
            bins.append(LengthBin(label=label, reward=found))
        low = high
    return tuple(bins)


def reward_at_cliff(sample: Sample, settings: StageSettings) -> tuple[CliffRow, ...]:
    """Reward and similarity, with and without autojunk, below and above 200 characters; () without autojunk."""
    if not settings.signals.junk_text:
        return ()
    graded = [
        ((action, group.target) if settings.is_action_first else (group.target, action), reward)
        for group in sample.actions
        for action, reward in zip(group.actions, group.rewards, strict=True)
        if reward is not None
    ]
    pairs = [pair for pair, _ in graded]
    similarities = [bounded_similarities(pairs, autojunk=autojunk) for autojunk in (True, False)]
    rows: list[CliffRow] = []
    for low, high, label in (
        (0, JUNK_LENGTH, f"under {JUNK_LENGTH}"),
        (JUNK_LENGTH - _EDGE, JUNK_LENGTH, f"{JUNK_LENGTH - _EDGE} to {JUNK_LENGTH - 1}, just under"),
        (JUNK_LENGTH, JUNK_LENGTH + _EDGE, f"{JUNK_LENGTH} to {JUNK_LENGTH + _EDGE - 1}, just over"),
        (JUNK_LENGTH, math.inf, f"{JUNK_LENGTH} and more"),
    ):
        places = [place for place, (_, second) in enumerate(pairs) if low <= len(second) < high]
        if places:
            paid, with_autojunk, without = (
                math.fsum(column[place] for place in places) / len(places)
                for column in ([reward for _, reward in graded], *similarities)
            )
            row = CliffRow(
                label=label, num=len(places), reward=paid, with_autojunk=with_autojunk, without_autojunk=without
            )
            rows.append(row)
    return tuple(rows)


def _quartiles(lengths: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Up to four bins of characters, as (upper edge, label)."""
    if not lengths:
        return ()
    inner = sorted({lengths[len(lengths) * part // 4] for part in (1, 2, 3)} - {lengths[0]})
    edges = [lengths[0], *inner, math.inf]
    return tuple(
        (high, f"{low:,.0f} to {high - 1:,.0f} characters" if high < math.inf else f"{low:,.0f} characters and more")
        for low, high in pairwise(edges)
    )
