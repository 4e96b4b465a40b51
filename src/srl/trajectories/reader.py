"""Rows -> Trajectories (4.2 of the paper). What cannot be read is dropped and counted, never fixed in silence.

The decision a reader would question: a second row with the same id is dropped, not renamed, because step examples,
held-out sets and RLVR problems are all told apart by the trajectory's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from srl.errors import DataError
from srl.trajectories.containers import unwrap
from srl.trajectories.fields import file_stem
from srl.trajectories.formats import FORMATS, check_format, format_of
from srl.trajectories.reasons import RowError
from srl.trajectories.repetition import chain_of, drop_repetitions
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

DEFAULT_SETTINGS = ReadSettings()


def read_trajectories(
    source: str, *, strict: bool = False, settings: ReadSettings = DEFAULT_SETTINGS
) -> Iterator[Trajectory | DroppedRow]:
    """The trajectories of a file, a folder or a Hub dataset, and what had to be dropped, in order.

    Ids from a folder have the path of their file in front. Raises DataError if there is nothing to read, and with
    ``strict`` at the first row that would be dropped.
    """
    for item in drop_repetitions(parse_rows(read_rows(source), settings, root=root_of(source)), chain_of):
        if strict and isinstance(item, DroppedRow):
            raise DataError(describe_drop(item))
        yield item


def root_of(source: str) -> str:
    """The folder that ids are made unique below; "" for a single file or Hub dataset, whose ids stay as they are."""
    return source if Path(source).is_dir() else ""


def parse_rows(
    rows: Iterable[Row | DroppedRow], settings: ReadSettings, *, root: str = ""
) -> Iterator[Trajectory | DroppedRow]:
    """The trajectories in ``rows``; what cannot be one comes out as a DroppedRow. Ids may repeat.

    With ``root`` their ids are those of ``scoped_id``. Raises ConfigError for a format that is not known.
    """
    check_format(settings.format)
    for row in rows:
        if isinstance(row, DroppedRow):
            yield row
            continue
        for place, inner in unwrap(row):
            name = settings.format if settings.format != "auto" else format_of(inner.value)
            try:
                for item in FORMATS[name].parse(inner, settings):
                    if isinstance(item, DroppedRow):
                        yield replace(item, detail=place + item.detail)
                        continue
                    trajectory_id = scoped_id(item.trajectory_id, row.source.file, root) if root else item.trajectory_id
                    yield replace(item, trajectory_id=trajectory_id, source=replace(row.source, line=row.line))
            except RowError as error:
                yield row.dropped(error.reason, place + error.detail)


def scoped_id(trajectory_id: str, file: str, root: str) -> str:
    """The id with its file's path below ``root`` in front; an id that is the file's name stands once.

    Files of one folder often number their rows from 0, and two runs of an agent share their instance ids.

    >>> scoped_id("7", "data/math/a.jsonl", "data"), scoped_id("bug-1", "data/run2/bug-1.traj", "data")
    ('math/a/7', 'run2/bug-1')
    """
    path = PurePath(file)
    place = path.relative_to(root) if path.is_relative_to(root) else path
    stem = file_stem(file)
    inner = trajectory_id.removeprefix(f"{stem}-")
    parts = [part for part in place.parent.parts if part not in (".", "..", "/")]
    return "/".join([*parts, stem] if inner == stem else [*parts, stem, inner])


def drop_to_json(drop: DroppedRow) -> dict[str, object]:
    """The drop as one JSON object."""
    source = {"file": drop.source.file, "row": drop.source.row}
    return {"source": source, "line": drop.line, "reason": drop.reason, "detail": drop.detail}


def describe_drop(drop: DroppedRow) -> str:
    """One line for people: where, why, what."""
    place = f"line {drop.line}" if drop.line else f"row {drop.source.row}"
    return f"{drop.source.file}, {place}: {drop.reason}: {drop.detail}"
