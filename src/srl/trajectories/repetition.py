"""Trajectories in order -> those that repeat no earlier one; the others become drops.

What is read together may hold a trajectory twice under one id, and logs that repeat each other: one file per call of a
model, each with the whole conversation so far. Only what is needed to notice this stays in memory: the digests of the
ids, and one trajectory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from srl.trajectories.reasons import DropReason
from srl.types import DroppedRow, Source, Trajectory

Chain = tuple[bytes, ...]
"""A digest of the problem and of each action of a log, in order; () for what no other log repeats."""
_REPEATING = frozenset({"openhands-llm-log"})


class _Identified(Protocol):
    """A trajectory, or what stands for one."""

    @property
    def trajectory_id(self) -> str: ...
    @property
    def source(self) -> Source: ...


_Item = TypeVar("_Item", bound=_Identified)


def drop_repetitions(
    items: Iterable[_Item | DroppedRow], chain: Callable[[_Item], Chain]
) -> Iterator[_Item | DroppedRow]:
    """The items; of logs that repeat each other the longest, of those with one id the first."""
    yield from _drop_duplicates(_drop_superseded(items, chain))


def chain_of(trajectory: Trajectory) -> Chain:
    """The digests by which a later log of the same conversation is told."""
    if trajectory.format not in _REPEATING:
        return ()
    # What came back to an action is known in full only once the next one is there, so it counts with that one.
    seen = ("", *(step.observation for step in trajectory.steps))
    steps = (f"{before}\0{step.text}" for before, step in zip(seen, trajectory.steps, strict=False))
    return tuple(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in (trajectory.problem, *steps))


def dropped(source: Source, reason: DropReason, detail: str) -> DroppedRow:
    """A trajectory that was read and is left out all the same, as a drop."""
    return DroppedRow(source=source, line=source.line, reason=reason.value, detail=detail)


def _drop_superseded(
    items: Iterable[_Item | DroppedRow], chain: Callable[[_Item], Chain]
) -> Iterator[_Item | DroppedRow]:
    """A log is held back until the next one shows whether it goes on where the other ends.

    Logs of one conversation must follow each other, as the time stamps in their names make them; drops between them do
    not matter.
    """
    held: _Item | None = None
    held_chain: Chain = ()
    for item in items:
        if isinstance(item, DroppedRow):
            yield item
            continue
        item_chain = chain(item)
        if held is not None:
            if item_chain and item_chain[: len(held_chain)] == held_chain:
                yield dropped(held.source, DropReason.SUPERSEDED, f"{item.source.file} repeats it and goes on")
            else:
                yield held
        held, held_chain = (item, item_chain) if item_chain else (None, ())
        if held is None:
            yield item
    if held is not None:
        yield held


def _drop_duplicates(items: Iterable[_Item | DroppedRow]) -> Iterator[_Item | DroppedRow]:
    seen: set[bytes] = set()
    for item in items:
        if isinstance(item, DroppedRow):
            yield item
            continue
        digest = hashlib.blake2b(item.trajectory_id.encode(), digest_size=16).digest()
        if digest in seen:
            detail = f"{item.trajectory_id!r} is also the id of an earlier row"
            yield dropped(item.source, DropReason.DUPLICATE_ID, detail)
            continue
        seen.add(digest)
        yield item
