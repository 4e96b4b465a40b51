"""Sources of expert data -> step examples on disk, with a count of everything.

Output and report appear whole or not at all: they are written beside their place and renamed at the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from math import isnan
from pathlib import Path

from srl.decomposition.filters import drop_near_duplicates
from srl.decomposition.parallel import Item, read_units
from srl.decomposition.records import Outcomes, TrajectoryRecord, WorkerOptions
from srl.decomposition.shards import DETAILS, FILE_FORMATS, SHARD_BYTES, ExampleWriter, ShardFormat, is_single_file
from srl.decomposition.summary import DecomposeSummary
from srl.errors import DataError
from srl.examples import CONTEXT_TURNS
from srl.overlap.index import build_index
from srl.trajectories.fields import read_label
from srl.trajectories.reader import DEFAULT_SETTINGS, describe_drop, drop_to_json, root_of
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.repetition import drop_repetitions
from srl.trajectories.rows import Row, Unit, list_units, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow
from srl.whole_file import real_path, whole_file

MAX_OBSERVATION_CHARS = 20_000
"""Observations in examples are cut to this length; training cuts them further, to tokens."""
OUTCOME_IDS = ("instance_id", "trajectory_id", "id", "task_id")
OUTCOME_FLAGS = ("resolved", "is_right", "correct", "success", "reward", "score")


def decompose(
    sources: Sequence[str] | str,
    output: Path,
    *,
    report: Path | None = None,
    strict: bool = False,
    overwrite: bool = False,
    reading: ReadSettings = DEFAULT_SETTINGS,
    outcomes: str | None = None,
    exclude: Sequence[str] = (),
    distinct_problems: bool = False,
    context_turns: int = CONTEXT_TURNS,
    max_observation_chars: int = MAX_OBSERVATION_CHARS,
    shard_format: ShardFormat = "jsonl",
    shard_bytes: int = SHARD_BYTES,
    num_workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda num_read, num_units: None,
) -> DecomposeSummary:
    """Write the step examples of ``sources`` to ``output`` and their dropped rows to ``report``.

    ``output`` is one file where its name ends in .jsonl or .parquet, else a folder of shards, which also holds
    ``.srl/summary.json`` and ``.srl/drops.jsonl``. ``outcomes`` names a file that says which trajectories are right;
    ``exclude`` names benchmarks whose problems are dropped; ``distinct_problems`` drops trajectories whose problem an
    earlier one has. ``on_progress`` hears how many of the files (or parts of large ones) are read. The result does not
    depend on ``num_workers``; with more than one, the calling script needs ``if __name__ == "__main__":``, as all of
    Python's process pools do.

    Raises DataError, and leaves everything as it was, if a place is taken (unless ``overwrite``), if a source cannot
    be read, or, with ``strict``, at the first row that would be dropped. Where not a single row parses, DataError says
    why and only the report is written.
    """
    sources = (sources,) if isinstance(sources, str) else tuple(sources)
    shard_format = FILE_FORMATS.get(output.suffix.lower(), shard_format)
    _check_places(sources, output, report, overwrite=overwrite, also_read=[*exclude, *([outcomes] if outcomes else [])])
    units = [unit for source in sources for unit in list_units(source)]
    benchmarks, unread = build_index(exclude) if exclude else (None, [])
    options = WorkerOptions(
        reading=reading,
        context_turns=context_turns,
        max_observation_chars=max_observation_chars,
        outcomes=read_outcomes(outcomes) if outcomes else {},
        benchmarks=benchmarks,
        root=_common_root(sources, units),
        as_arrow=shard_format == "parquet",
    )
    read = read_units(units, options, num_workers=num_workers, on_unit=lambda number: on_progress(number, len(units)))
    items = drop_repetitions(read, lambda record: record.chain)
    summary = DecomposeSummary(sources=sources, output=str(output), num_unread_benchmark_rows=len(unread))
    with ExampleWriter.open(output, shard_format, shard_bytes) as writer:
        _write(drop_near_duplicates(items) if distinct_problems else items, writer, summary, report, strict=strict)
    return summary


def _write(
    items: Iterable[Item], writer: ExampleWriter, summary: DecomposeSummary, report: Path | None, *, strict: bool
) -> None:
    """Write examples and drops, count both, and put everything in its place."""
    output = Path(summary.output)
    in_folder = report is None and not is_single_file(output)
    with whole_file(writer.folder / DETAILS / "drops.jsonl" if in_folder else report) as write_drop:
        for item in items:
            if isinstance(item, TrajectoryRecord):
                writer.write(item.examples)
            elif strict:
                raise DataError(describe_drop(item))
            else:
                write_drop(drop_to_json(item))
            summary.add(item)
    if not summary.num_parsed:
        raise DataError(_nothing_parsed(summary, report))
    report = output / DETAILS / "drops.jsonl" if in_folder else report
    summary.report = None if report is None else str(report)
    writer.publish({f"{DETAILS}/summary.json": summary.to_json()})


def read_outcomes(source: str) -> Outcomes:
    """Whether each trajectory is right, by id, from rows such as {"instance_id": "a-1", "resolved": true}.

    Numbers above 0.5 are right. Raises DataError for a row that says nothing clear: a silent "not known" would keep
    what was meant to be left out.
    """
    outcomes = Outcomes()
    for row in read_rows(source):
        if isinstance(row, DroppedRow):
            raise DataError(describe_drop(row))
        try:
            trajectory_id, is_right = _read_outcome(row)
            if outcomes.setdefault(trajectory_id, is_right) is not is_right:
                raise RowError(DropReason.INCONSISTENT, f"{trajectory_id!r} is both right and wrong")
        except RowError as error:
            raise DataError(describe_drop(row.dropped(error.reason, error.detail))) from error
    return outcomes


def _read_outcome(row: Row) -> tuple[str, bool]:
    trajectory_id = read_label(row.value, OUTCOME_IDS)
    flag = next((row.value[name] for name in OUTCOME_FLAGS if row.value.get(name) is not None), None)
    if trajectory_id is None or not isinstance(flag, (bool, int, float)) or (isinstance(flag, float) and isnan(flag)):
        flags = ", ".join(OUTCOME_FLAGS)
        detail = f"needs an id ({', '.join(OUTCOME_IDS)}) and true, false or a number under one of {flags}"
        raise RowError(DropReason.MISSING_FIELD, f"an outcome {detail}")
    return trajectory_id, flag > 0.5


def _common_root(sources: Sequence[str], units: Sequence[Unit]) -> str:
    """The folder below which ids have the path of their file in front; "" for one file, whose ids need no path.

    For one folder it is that folder, as for every other command, so that a trajectory has one id everywhere.
    """
    if len(sources) == 1:
        return root_of(sources[0])
    try:
        return os.path.commonpath([str(Path(unit.file).parent) for unit in units]) or "."
    except ValueError:  # absolute and relative paths have nothing in common
        return "."


def _check_places(
    sources: Sequence[str], output: Path, report: Path | None, *, overwrite: bool, also_read: Sequence[str]
) -> None:
    """Raises DataError where writing would destroy a source, the other file, or something not given up."""
    if not sources:
        raise DataError("name at least one file, folder or Hub dataset to read")
    written = [place for place in (output, report) if place is not None]
    named = [real_path(source) for source in sources]
    twice = next((source for source, place in zip(sources, named, strict=True) if named.count(place) > 1), None)
    if twice is not None:
        raise DataError(f"{twice} is named twice; name every input once")
    taken = [*named, *map(real_path, also_read)]
    for place in map(real_path, written):
        if any(place.is_relative_to(other) or other.is_relative_to(place) for other in taken):
            raise DataError("input, output and report must be different places, none inside another")
        taken = [*taken, place]
    for place in written:
        if place.is_dir() and not is_single_file(place) and place == output:
            _check_folder(place, overwrite=overwrite)
        elif place.exists() and not place.is_file():
            raise DataError(f"{place} exists and is not a file; choose another name")
        elif place.exists() and place == output and not is_single_file(place):
            raise DataError(f"{place} exists and is no folder; choose another name, or one that ends in .jsonl")
        elif place.exists() and not overwrite:
            raise DataError(f"{place} exists already; pass --overwrite to replace it or choose another name")


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if not overwrite:
        raise DataError(f"{folder} exists already; pass --overwrite to replace it or choose another name")
    ours = re.compile(rf"examples-\d{{5,}}\.(jsonl|parquet)|{re.escape(DETAILS)}")
    other = next((path for path in sorted(folder.iterdir()) if not ours.fullmatch(path.name)), None)
    if other is not None:
        raise DataError(f"{folder} holds {other.name}, which srl decompose did not write; choose another name")


def _nothing_parsed(summary: DecomposeSummary, report: Path | None) -> str:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in summary.dropped.most_common())
    where = f"see {report}" if report else "name a file with --report to see them by file and line"
    return f"no row of {', '.join(summary.sources)} became a trajectory ({reasons or 'there are no rows'}); {where}"
