"""``srl overlap``: training problems that are in a benchmark, or that repeat each other, as a table and as pairs.

The training file is read once, row by row; what stays in memory are the benchmarks or, with ``--within``, the problems
seen so far. The exit code is 0 whatever is found, unless ``--fail`` asks for 1: a count is a result, not an error.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from srl.errors import ConfigError, DataError
from srl.overlap.duplicates import DUPLICATE_THRESHOLD, NearDuplicates
from srl.overlap.index import FUZZY_THRESHOLD, OverlapKind, build_index
from srl.overlap.sources import SourceProblem, read_problems
from srl.types import DroppedRow, Source
from srl.whole_file import real_path, whole_file

PREVIEW_CHARS = 200
"""Characters of each problem that stand in the report."""
FOUND_EXIT_CODE = 1
"""Exit code of ``--fail`` where something was found."""


@dataclass(kw_only=True, slots=True)
class BenchmarkCounts:
    """What was found of one benchmark, or with ``--within`` of the training file itself."""

    name: str
    """The source as it was named."""
    num_problems: int = 0
    """Its problems; with ``--within`` the different ones."""
    kinds: Counter[OverlapKind] = field(default_factory=Counter[OverlapKind])
    """Training rows by the strongest kind of overlap they have with it."""
    found: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """File and row of its problems that are in the training file, variants not counted."""


@dataclass(kw_only=True, slots=True)
class OverlapSummary:
    """What ``srl overlap`` found."""

    train: str
    """The training source as it was named."""
    num_checked: int = 0
    """Training rows with a problem."""
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Training rows without a usable problem, by reason."""
    dropped_benchmark_rows: Counter[str] = field(default_factory=Counter[str])
    """Benchmark rows without one."""
    counts: list[BenchmarkCounts] = field(default_factory=list[BenchmarkCounts])
    """One per benchmark, in the order given."""

    @property
    def is_found(self) -> bool:
        """Whether a training problem is in a benchmark or repeats another; variants do not count."""
        return any(entry.kinds[OverlapKind.EXACT] + entry.kinds[OverlapKind.FUZZY] for entry in self.counts)


def find_overlap(
    train: str,
    benchmarks: Iterable[str],
    *,
    report: Path | None = None,
    threshold: float = FUZZY_THRESHOLD,
    problem_field: str = "",
) -> OverlapSummary:
    """Look every problem of ``train`` up among those of ``benchmarks``; pairs go to ``report``, one object per line.

    ``problem_field`` is the training file's column; benchmarks are read by the usual names. Raises DataError if a
    source cannot be read or has no problems, and leaves ``report`` as it was.
    """
    names = list(dict.fromkeys(benchmarks))
    index, dropped = build_index(names, threshold=threshold)
    summary = OverlapSummary(train=train, counts=[BenchmarkCounts(name=name) for name in names])
    summary.dropped_benchmark_rows.update(row.reason for row in dropped)
    by_name = {entry.name: entry for entry in summary.counts}
    for name, number in index.sizes.items():
        by_name[name].num_problems = number
    with whole_file(report) as write:
        for item in _checked(train, problem_field, summary):
            strongest: dict[str, OverlapKind] = {}
            for overlap in index.find_all(item.problem):
                strongest.setdefault(overlap.benchmark, overlap.kind)  # the strongest kind comes first
                if overlap.kind is not OverlapKind.VARIANT:
                    by_name[overlap.benchmark].found.add((overlap.source.file, overlap.source.row))
                bench = SourceProblem(problem_id=overlap.problem_id, problem=overlap.problem, source=overlap.source)
                write(_pair(item, "bench", bench, overlap.kind, overlap.similarity))
            for name, kind in strongest.items():
                by_name[name].kinds[kind] += 1
    return summary


def find_duplicates(
    train: str, *, report: Path | None = None, threshold: float = DUPLICATE_THRESHOLD, problem_field: str = ""
) -> OverlapSummary:
    """Compare every problem of ``train`` with the earlier ones; pairs go to ``report``, one object per line.

    Raises DataError if ``train`` cannot be read or has no problems, and leaves ``report`` as it was.
    """
    counts = BenchmarkCounts(name=train)
    summary = OverlapSummary(train=train, counts=[counts])
    seen = NearDuplicates(threshold=threshold)
    earlier: dict[str, tuple[str, Source, str]] = {}
    with whole_file(report) as write:
        for item in _checked(train, problem_field, summary):
            place = str(summary.num_checked)
            found = seen.look_up(place, item.problem)
            if found is None:
                earlier[place] = (item.problem_id, item.source, item.problem[:PREVIEW_CHARS])
                continue
            counts.kinds[found.kind] += 1
            problem_id, source, preview = earlier[found.earlier_id]
            counts.found.add((source.file, source.row))
            first = SourceProblem(problem_id=problem_id, problem=preview, source=source)
            write(_pair(item, "earlier", first, found.kind, found.similarity))
    counts.num_problems = len(earlier)
    return summary


def print_summary(summary: OverlapSummary, console: Console, *, within: bool) -> None:
    """The summary as a table that fits into 80 columns."""
    table = Table(title="Near-duplicates" if within else "Overlap with benchmarks", title_justify="left")
    table.add_column("training file" if within else "benchmark", overflow="fold", max_width=30)
    headers = ("different", "repeated") if within else ("problems", "found")
    for header in (*headers, "exact", "fuzzy", *(() if within else ("variants",))):
        table.add_column(header, justify="right")
    for entry in summary.counts:
        kinds = [OverlapKind.EXACT, OverlapKind.FUZZY, *(() if within else (OverlapKind.VARIANT,))]
        cells = [entry.num_problems, len(entry.found), *(entry.kinds[kind] for kind in kinds)]
        table.add_row(Path(entry.name).name.replace("[", r"\["), *map(str, cells))
    console.print(table)
    console.print(f"{summary.num_checked} rows checked: {summary.train}", markup=False, highlight=False, soft_wrap=True)
    for whose, dropped in (("", summary.dropped), (" of benchmarks", summary.dropped_benchmark_rows)):
        for reason, count in dropped.most_common():
            console.print(f"  not compared{whose}, {reason}: {count}", markup=False, highlight=False)


def overlap_command(
    train: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TRAIN")],
    benchmarks: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="BENCH ...")] = (),
    /,
    *,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PATH")] = None,
    threshold: float | None = None,
    within: bool = False,
    fail: bool = False,
    overwrite: bool = False,
    problem_field: str = "",
) -> None:
    """Find training problems that are in a benchmark, or with --within that repeat each other.

    Exact: the same after normalisation of case, white space, punctuation, LaTeX spelling and answer instructions.
    Fuzzy: much of the same wording and the same numbers. Variants: the same wording with other numbers; these are
    listed, but are other problems.

    Args:
        train: File, folder or Hub dataset with training problems.
        benchmarks: Files, folders or Hub datasets with the problems that must not be trained on.
        output: JSON Lines file to write the pairs to.
        threshold: Similarity of fuzzy pairs; 0.5 for benchmarks, 0.8 for --within unless given.
        within: Look for near-duplicates inside TRAIN.
        fail: Exit with code 1 if exact or fuzzy pairs were found, for use in scripts.
        overwrite: Replace the output if it exists.
        problem_field: Column of the problem in TRAIN; empty: the usual names.
    """
    if within == bool(benchmarks):
        raise ConfigError("name at least one benchmark, or --within to compare TRAIN with itself, and not both")
    _check_place(output, [train, *benchmarks], overwrite=overwrite)
    if within:
        limit = DUPLICATE_THRESHOLD if threshold is None else threshold
        summary = find_duplicates(train, report=output, threshold=limit, problem_field=problem_field)
    else:
        limit = FUZZY_THRESHOLD if threshold is None else threshold
        summary = find_overlap(train, benchmarks, report=output, threshold=limit, problem_field=problem_field)
    console = Console()
    print_summary(summary, console, within=within)
    if output is not None:
        console.print(f"pairs: {output}", markup=False, highlight=False, soft_wrap=True)
    if fail and summary.is_found:
        sys.exit(FOUND_EXIT_CODE)


def _checked(train: str, problem_field: str, summary: OverlapSummary) -> Iterable[SourceProblem]:
    """The problems of ``train``, counted; raises DataError at the end if there was none."""
    for item in read_problems(train, problem_field=problem_field):
        if isinstance(item, DroppedRow):
            summary.dropped[item.reason] += 1
            continue
        summary.num_checked += 1
        yield item
    if not summary.num_checked:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.dropped.most_common()) or "it is empty"
        raise DataError(f"{train} has no problem to compare ({reasons}); name its column with --problem-field")


def _pair(
    item: SourceProblem, other_name: str, other: SourceProblem, kind: OverlapKind, similarity: float
) -> Mapping[str, object]:
    return {
        "kind": kind.value,
        "similarity": round(similarity, 4),
        "train": _described(item),
        other_name: _described(other),
    }


def _described(item: SourceProblem) -> dict[str, object]:
    return {**asdict(item.source), "id": item.problem_id, "problem": item.problem[:PREVIEW_CHARS]}


def _check_place(output: Path | None, sources: list[str], *, overwrite: bool) -> None:
    if output is None:
        return
    if any(real_path(output).is_relative_to(real_path(source)) for source in sources):
        raise DataError(f"{output} is one of the inputs, or inside one; choose another name")
    if output.exists() and not (overwrite and output.is_file()):
        raise DataError(f"{output} exists already; pass --overwrite to replace a file or choose another name")
