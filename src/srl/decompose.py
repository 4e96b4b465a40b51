"""``srl decompose``: a file of expert solutions -> a JSON Lines file of step examples, with a count of everything.

Output and report appear whole or not at all: they are written beside their place and renamed at the end.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TextIO

import tyro
from rich.console import Console
from rich.table import Table

from srl.errors import DataError
from srl.examples import make_step_examples, to_json
from srl.trajectories.reader import read_trajectories
from srl.types import DroppedRow


@dataclass(frozen=True, kw_only=True, slots=True)
class DecomposeSummary:
    """What became of the rows of one source."""

    source: str
    """The file or Hub dataset that was read."""
    output: str
    """The file the step examples were written to."""
    report: str | None
    """The file the dropped rows were written to, None where none was asked for."""
    num_read: int
    """Rows read, blank lines not counted; ``num_parsed`` plus all drops."""
    num_parsed: int
    """Rows that became a trajectory."""
    num_with_answer: int
    """Trajectories whose final answer is known; RLVR can use these."""
    num_examples: int
    """Step examples written, the last step of each trajectory included."""
    dropped: dict[str, int]
    """Dropped rows by reason, the most frequent first."""
    steps_per_trajectory: dict[int, int]
    """Number of trajectories by number of steps, ascending."""


def decompose(
    source: str,
    output: Path,
    *,
    report: Path | None = None,
    strict: bool = False,
    overwrite: bool = False,
    problem_field: str = "",
    solution_field: str = "",
) -> DecomposeSummary:
    """Write the step examples of ``source`` to ``output`` and, if asked, its dropped rows to ``report``.

    Raises DataError, and leaves both files as they were, if one of them exists already (unless ``overwrite``), if
    ``source`` cannot be read, or, with ``strict``, at the first row that would be dropped. Where not a single row
    parses, DataError says why and only the report is written.
    """
    _check_places(source, output, report, overwrite=overwrite)
    steps, dropped, num_with_answer = Counter[int](), Counter[str](), 0
    items = read_trajectories(source, strict=strict, problem_field=problem_field, solution_field=solution_field)
    with _PendingFile.beside(output) as examples_file, _PendingFile.beside(report) as report_file:
        for item in items:
            if isinstance(item, DroppedRow):
                dropped[item.reason] += 1
                report_file.write(asdict(item))
                continue
            steps[len(item.steps)] += 1
            num_with_answer += item.answer is not None
            for example in make_step_examples(item):
                examples_file.write(to_json(example))
        report_file.publish()
        if not steps:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "it has no rows"
            raise DataError(f"{source}: no row became a trajectory ({reasons}); {output} was not written")
        examples_file.publish()
    return DecomposeSummary(
        source=source,
        output=str(output),
        report=None if report is None else str(report),
        num_read=steps.total() + dropped.total(),
        num_parsed=steps.total(),
        num_with_answer=num_with_answer,
        num_examples=sum(num_steps * count for num_steps, count in steps.items()),
        dropped=dict(dropped.most_common()),
        steps_per_trajectory=dict(sorted(steps.items())),
    )


def print_summary(summary: DecomposeSummary, console: Console) -> None:
    """The summary as tables that fit into 80 columns."""
    counts = Table(title="Decomposed", title_justify="left", show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_row("rows read", str(summary.num_read))
    counts.add_row("parsed into trajectories", _with_share(summary.num_parsed, summary.num_read))
    counts.add_row("  of these with a final answer", _with_share(summary.num_with_answer, summary.num_parsed))
    for reason, count in summary.dropped.items():
        counts.add_row(f"dropped: {reason}", _with_share(count, summary.num_read))
    counts.add_row("step examples written", str(summary.num_examples))
    console.print(counts)
    lengths = Table(title="Steps per trajectory", title_justify="left")
    lengths.add_column("steps", justify="right")
    lengths.add_column("trajectories", justify="right")
    lengths.add_column("")
    most = max(summary.steps_per_trajectory.values(), default=1)
    for num_steps, count in summary.steps_per_trajectory.items():
        lengths.add_row(str(num_steps), str(count), "█" * max(1, round(40 * count / most)))
    console.print(lengths)
    # Paths as plain text: a "[draft]" in a file name is no markup, and a path must not be broken over lines.
    console.print(f"examples: {summary.output}", markup=False, highlight=False, soft_wrap=True)
    if summary.report is not None:
        console.print(f"dropped rows: {summary.report}", markup=False, highlight=False, soft_wrap=True)
    elif summary.dropped:
        console.print("Name a file with --report to see the dropped rows by file and line.", soft_wrap=True)


def decompose_command(
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="INPUT")],
    /,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    report: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
    strict: bool = False,
    overwrite: bool = False,
    problem_field: str = "",
    solution_field: str = "",
) -> None:
    """Cut expert solutions into step examples.

    Reads a JSONL, JSON or Parquet file or a Hub dataset with a problem and a numbered solution per row. Rows that do
    not parse are dropped and counted; that is not an error unless --strict is given or nothing is left.

    Args:
        source: File, or Hub dataset as owner/name or owner/name:split.
        output: JSON Lines file to write the step examples to.
        report: JSON Lines file to write the dropped rows to, with file, line and reason.
        strict: Stop with an error at the first row that would be dropped, and write nothing.
        overwrite: Replace output and report if they exist.
        problem_field: Column of the problem; empty: problem, question or prompt.
        solution_field: Column of the solution; empty: solution, response, output, completion or reference_solution.
    """
    summary = decompose(
        source,
        output,
        report=report,
        strict=strict,
        overwrite=overwrite,
        problem_field=problem_field,
        solution_field=solution_field,
    )
    print_summary(summary, Console())


class _PendingFile:
    """A JSON Lines file that takes its place only when published; ``beside(None)`` swallows what is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._partial = None if path is None else path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._file = None if self._partial is None else self._open(self._partial)

    @staticmethod
    def _open(partial: Path) -> TextIO:
        # A path that is no valid UTF-8 can stand in a record; its bytes are then written as JSON escapes.
        return partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

    @classmethod
    @contextmanager
    def beside(cls, path: Path | None) -> Generator[_PendingFile]:
        """Opens the file; removes it at the end unless it was published. A write that fails is a DataError."""
        try:
            pending = cls(path)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}; does its folder exist?") from error
        try:
            yield pending
        finally:
            pending.discard()

    def write(self, value: Mapping[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")

    def publish(self) -> None:
        if self._file is not None and self._partial is not None and self._path is not None:
            self._file.close()
            self._partial.replace(self._path)

    def discard(self) -> None:
        if self._file is not None and self._partial is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def _check_places(source: str, output: Path, report: Path | None, *, overwrite: bool) -> None:
    """Raises DataError where writing would destroy the source, the other file, or a file not given up."""
    written = [place for place in (output, report) if place is not None]
    if len({place.resolve() for place in (Path(source), *written)}) <= len(written):
        raise DataError("input, output and report must be different files; nothing was written")
    for place in written:
        if place.exists() and not place.is_file():
            raise DataError(f"{place} exists and is not a file; choose another name")
        if place.exists() and not overwrite:
            raise DataError(f"{place} exists already; pass --overwrite to replace it or choose another name")


def _with_share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f} %)" if total else str(count)
