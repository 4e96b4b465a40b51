"""Records in order -> those whose problem no earlier one has. Other repetitions are the reader's matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from srl.decomposition.records import TrajectoryRecord
from srl.overlap.duplicates import NearDuplicates
from srl.trajectories.reasons import DropReason
from srl.trajectories.repetition import dropped
from srl.types import DroppedRow

Item = TrajectoryRecord | DroppedRow


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
