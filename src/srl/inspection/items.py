"""Trajectories or step examples -> the one that a user asks for.

The decision a reader would question: a position counts dropped rows too. A file with one trajectory in each row then
has row N at position N, and asking for a row that was dropped tells why it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from srl.errors import ConfigError, DataError
from srl.example_store import Item
from srl.trajectories.reader import describe_drop
from srl.types import DroppedRow, StepExample, Trajectory

_NUM_IDS_NAMED = 3


def find_item(
    items: Iterable[Item], source: str, *, index: int | None, trajectory_id: str | None, step: int | None
) -> Trajectory | StepExample:
    """The item at a position or with an id, else the first that could be read; reads no further than to it.

    Among step examples, ``step`` chooses one of an id. Raises DataError if there is none, or if the row was dropped,
    and ConfigError for choices that contradict each other.
    """
    if index is not None and trajectory_id is not None:
        raise ConfigError("--index and --id both choose what to show; give one of them")
    if index is not None:
        return _at(items, source, index, step)
    ids: dict[str, None] = {}
    first_drop: DroppedRow | None = None
    for item in items:
        if isinstance(item, DroppedRow):
            first_drop = first_drop or item
            continue
        if trajectory_id is None:
            return _checked(item, step)
        if item.trajectory_id == trajectory_id and (
            isinstance(item, Trajectory) or step is None or item.step_index == step
        ):
            return item
        if len(ids) < _NUM_IDS_NAMED:
            ids[item.trajectory_id] = None
    if trajectory_id is not None and ids:
        wanted = f"step {step} of {trajectory_id!r}" if step is not None else repr(trajectory_id)
        raise DataError(f"{source} has no {wanted}; its first ids: {', '.join(map(repr, ids))}")
    why = f"; the first drop: {describe_drop(first_drop)}" if first_drop else ""
    raise DataError(f"{source} holds no trajectory and no step example that can be read{why}")


def _at(items: Iterable[Item], source: str, index: int, step: int | None) -> Trajectory | StepExample:
    if index < 0:
        raise ConfigError(f"--index {index}: positions count from 0")
    num_read = 0
    for num_read, item in enumerate(islice(items, index + 1), start=1):
        if num_read == index + 1:
            if isinstance(item, DroppedRow):
                raise DataError(f"position {index} was dropped: {describe_drop(item)}")
            return _checked(item, step)
    raise DataError(f"{source} has {num_read} rows that could be read or were dropped; --index counts them from 0")


def _checked(item: Trajectory | StepExample, step: int | None) -> Trajectory | StepExample:
    if step is not None and isinstance(item, StepExample):
        raise ConfigError("each row is a step example of its own; choose one with --index, or with --id and --step")
    return item
