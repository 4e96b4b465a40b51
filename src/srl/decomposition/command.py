"""``srl decompose`` on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from srl.decomposition.run import MAX_OBSERVATION_CHARS, decompose
from srl.decomposition.shards import ShardFormat, is_single_file
from srl.decomposition.summary import print_summary
from srl.errors import ConfigError
from srl.examples import CONTEXT_TURNS
from srl.trajectories.formats import check_format
from srl.trajectories.reader import DEFAULT_SETTINGS
from srl.trajectories.settings import ReadSettings

_OTHER_FORMATS = (".json", ".csv", ".tsv", ".txt", ".gz", ".zst", ".arrow")
SOME_DROPPED = 3
"""Exit code where examples were written and something was dropped."""


@dataclass(frozen=True, kw_only=True)
class DecomposeOptions:
    """What the command can be told."""

    sources: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="INPUT ...")]
    """Files, folders, or Hub datasets as owner/name or owner/name:split."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File (.jsonl or .parquet) or folder of shards to write the step examples to."""
    report: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """JSON Lines file to write the dropped rows to, with file, line and reason; a folder has its .srl/drops.jsonl."""
    strict: bool = False
    """Stop with an error at the first row that would be dropped, and write nothing."""
    overwrite: bool = False
    """Replace output and report if they exist."""
    read: Annotated[ReadSettings, tyro.conf.arg(name="")] = DEFAULT_SETTINGS
    outcomes: str = ""
    """File that says which trajectories are right, as rows of instance_id and resolved."""
    exclude: tuple[str, ...] = ()
    """Benchmarks (files, folders, Hub datasets) whose problems are left out."""
    drop_near_duplicates: bool = False
    """Leave out trajectories whose problem is that of an earlier one, almost word for word."""
    context_turns: int = CONTEXT_TURNS
    """Rounds of action and observation in an agent's example."""
    max_observation_chars: int = MAX_OBSERVATION_CHARS
    """Cut longer observations in the middle; 0: never. Training cuts them further, to tokens."""
    shard_format: ShardFormat = "jsonl"
    """Format of the shards of a folder."""
    num_workers: int = 0
    """Processes to read with; 0: one for each core."""


def decompose_command(options: Annotated[DecomposeOptions, tyro.conf.arg(name="")]) -> None:
    """Cut expert solutions and agents' logs into step examples.

    Reads files, folders and Hub datasets; every row's own content decides how it is read.
    Rows that cannot be used are dropped and counted. Exit code: 0 when everything was read,
    3 when something was dropped, 2 for an error.
    """
    check_format(options.read.format)
    if min(options.context_turns, options.max_observation_chars, options.num_workers) < 0:
        raise ConfigError("--context-turns, --max-observation-chars and --num-workers must be at least 0")
    _check_output(options.output, options.shard_format)
    with _progress() as show:
        summary = decompose(
            options.sources,
            options.output,
            report=options.report,
            strict=options.strict,
            overwrite=options.overwrite,
            reading=options.read,
            outcomes=options.outcomes or None,
            exclude=options.exclude,
            distinct_problems=options.drop_near_duplicates,
            context_turns=options.context_turns,
            max_observation_chars=options.max_observation_chars,
            shard_format=options.shard_format,
            num_workers=options.num_workers or os.cpu_count() or 1,
            on_progress=show,
        )
    print_summary(summary, Console())
    if summary.dropped:
        sys.exit(SOME_DROPPED)


def _check_output(output: Path, shard_format: ShardFormat) -> None:
    """Raises ConfigError for a name like that of a file in another format, and for a format that the name overrules."""
    if output.suffix.lower() in _OTHER_FORMATS and not output.is_dir():
        raise ConfigError(f"{output}: give a file a name that ends in .jsonl or .parquet, or name a folder")
    if shard_format != "jsonl" and is_single_file(output) and output.suffix.lower() != f".{shard_format}":
        raise ConfigError(f"--shard-format {shard_format} is for folders, and {output} is one file; leave it out")


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    """A bar on the terminal while files are read, gone at the end; nothing where the output is no terminal."""
    columns = (TextColumn("reading"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda num_read, num_units: progress.update(task, completed=num_read, total=num_units)
