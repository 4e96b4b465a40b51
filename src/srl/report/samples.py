"""Saved groups -> the dozen rollouts of the page, with what matched the expert's text.

The choice is by rule, not by taste: updates spread evenly over each stage, first and last included; of the groups
saved for an update the one with the widest spread of rewards; of its rollouts the best and the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev

from srl.report.text import clip_text
from srl.rewards.similarity import matching_blocks
from srl.saved_run.groups import read_groups
from srl.saved_run.records import Run, SavedGroup, SavedRollout

NUM_GROUPS = 6
MAX_CHARACTERS = 6000


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of text."""

    text: str
    """As it stands in the rollout."""
    size: int
    """Length of the matching block it is, 0 outside of all blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """How an action matches its target."""

    action: tuple[Piece, ...]
    """The action in pieces."""
    target: tuple[Piece, ...]
    """The target in pieces."""
    num_matched: int
    """M, the sum of the block sizes."""
    num_total: int
    """T, the length of both texts together; at least 1."""

    @property
    def similarity(self) -> float:
        """2 M / T."""
        return 2 * self.num_matched / self.num_total


def choose_groups(run: Run) -> list[SavedGroup]:
    """About NUM_GROUPS groups, shared evenly among the stages, in the order of stages and updates."""
    if not run.rollout_files:
        return []
    per_stage = max(1, -(-NUM_GROUPS // len(run.rollout_files)))
    chosen: list[SavedGroup] = []
    for stage, files in run.rollout_files.items():
        chosen += _choose_in_stage(stage, files, per_stage)
    return chosen


def best_and_worst(group: SavedGroup) -> list[int]:
    """Indices of the rollouts with the highest and the lowest reward; one index when all rewards are equal."""
    order = sorted(range(len(group.rollouts)), key=lambda index: _sort_key(group.rollouts[index]))
    best, worst = order[-1], order[0]
    return [best] if group.rollouts[best].reward == group.rollouts[worst].reward else [best, worst]


def match_texts(action: str, target: str, *, autojunk: bool, action_is_first: bool) -> Match:
    """The blocks that the reward counts, under the settings it counted them with."""
    a, b = (action, target) if action_is_first else (target, action)
    blocks = matching_blocks(a, b, autojunk=autojunk)
    in_a = _cut(a, [(i, size) for i, _, size in blocks])
    in_b = _cut(b, [(j, size) for _, j, size in blocks])
    return Match(
        action=in_a if action_is_first else in_b,
        target=in_b if action_is_first else in_a,
        num_matched=sum(size for _, _, size in blocks),
        num_total=max(1, len(action) + len(target)),
    )


def clip_pieces(pieces: Sequence[Piece]) -> tuple[list[Piece], int]:
    """The first MAX_CHARACTERS characters, and how many were left out. Blocks keep their full size as a property."""
    room, kept = MAX_CHARACTERS, list[Piece]()
    for piece in pieces:
        text, _ = clip_text(piece.text, room)
        room -= len(text)
        if text:
            kept.append(Piece(text=text, size=piece.size))
    return kept, sum(len(piece.text) for piece in pieces) - sum(len(piece.text) for piece in kept)


def _choose_in_stage(stage: str, files: Sequence[Path], num_groups: int) -> list[SavedGroup]:
    """At most ``num_groups`` groups; a file that holds none is replaced by the next one that was not taken.

    What a file has that cannot be read is noted where the whole stage is read, in ``srl.diagnosis``.
    """
    num_groups = min(num_groups, len(files))
    wanted = [round(k * (len(files) - 1) / max(1, num_groups - 1)) for k in range(num_groups)]
    taken: dict[int, SavedGroup] = {}
    tried: set[int] = set()
    for start in wanted:
        for index in [*range(start, len(files)), *range(start)]:
            if index in tried:
                continue
            tried.add(index)
            groups = [group for group in read_groups(files[index], stage, []) if group.rollouts]
            if groups:
                taken[index] = max(groups, key=_spread)
                break
    return [taken[index] for index in sorted(taken)]


def _spread(group: SavedGroup) -> tuple[bool, float]:
    rewards = [rollout.reward for rollout in group.rollouts if rollout.reward is not None]
    return group.is_kept, pstdev(rewards) if rewards else 0.0


def _sort_key(rollout: SavedRollout) -> tuple[bool, float]:
    return rollout.reward is not None, rollout.reward or 0.0


def _cut(text: str, blocks: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """The text in pieces, alternately outside and inside of the blocks; empty pieces left out."""
    pieces: list[Piece] = []
    end = 0
    for start, size in blocks:
        pieces += [Piece(text=text[end:start], size=0), Piece(text=text[start : start + size], size=size)]
        end = start + size
    pieces.append(Piece(text=text[end:], size=0))
    return tuple(piece for piece in pieces if piece.text)
