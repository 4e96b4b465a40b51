"""Records in order -> those that repeat no earlier one; the others become drops.

Ids that occur twice are the reader's matter (``reader.drop_duplicates``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from srl.decomposition.records import TrajectoryRecord
from srl.overlap.duplicates import NearDuplicates
from srl.trajectories.reader import dropped
from srl.trajectories.reasons import DropReason
from srl.types import DroppedRow

Item = TrajectoryRecord | DroppedRow


def drop_superseded(items: Iterable[Item]) -> Iterator[Item]:
    """Of logs in sequence that repeat each other, the last and longest.

    A log is held back until the next one of its kind shows whether it goes on where the other ends. Logs of one
    conversation must follow each other, as their time stamps in file names make them; drops between them do not matter.
    """
    held: TrajectoryRecord | None = None
    for item in items:
        if isinstance(item, DroppedRow):
            yield item
            continue
        if held is not None:
            if item.chain and item.chain[: len(held.chain)] == held.chain:
                yield dropped(held.source, DropReason.SUPERSEDED, f"{item.source.file} repeats it and goes on")
            else:
                yield held
        held = item if item.chain else None
        if held is None:
            yield item
    if held is not None:
        yield held


def drop_near_duplicates(items: Iterable[Item]) -> Iterator[Item]:
    """The first record of every problem, where later ones say the same almost word for word."""
    seen = NearDuplicates()
    for item in items:
        if isinstance(item, TrajectoryRecord):
            earlier = seen.check(item.trajectory_id, item.problem)
            if earlier is not None:
                yield dropped(item.source, DropReason.NEAR_DUPLICATE, f"its problem is also that of {earlier!r}")
                continue
        yield item
