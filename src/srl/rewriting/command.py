"""``srl rewrite``: options and key in, a JSON Lines file of rewritten solutions out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from srl.chat_api.settings import read_key
from srl.errors import ConfigError, DataError
from srl.recipe import load_settings
from srl.rewriting.dry_run import estimate, print_estimate
from srl.rewriting.journal import Journal, journal_path
from srl.rewriting.originals import read_originals
from srl.rewriting.rewrite import Item, rewrite
from srl.rewriting.settings import RewriteConfig
from srl.rewriting.summary import RewriteSummary, print_summary
from srl.trajectories.formats import check_format
from srl.whole_file import real_path, whole_file

SOME_LEFT_OUT = 3
"""Exit code where some of the solutions that were to be rewritten were not, as of ``srl decompose``."""


@dataclass(frozen=True, kw_only=True)
class RewriteOptions:
    """Rewrite solutions into numbered, titled steps by asking an LLM.

    Any OpenAI-compatible endpoint will do. Every answer is kept in a journal beside the output, so that the same
    command goes on where a run was stopped and never asks, or pays, twice. The endpoint's key is read from the
    environment.
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="INPUT")]
    """File, folder or Hub dataset of expert solutions."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON Lines file to write the rewritten solutions to; srl decompose reads it."""
    config: Annotated[RewriteConfig, tyro.conf.arg(name="")]
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """TOML file with any of these settings and the [texts] of the prompt; options on the command line override it."""
    report: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """JSON Lines file to write the rows to that were left out, with the reason."""
    overwrite: bool = False
    """Replace output and report if they exist. The journal is always kept."""
    dry_run: bool = False
    """Count the rows, estimate tokens and cost, print one prompt, and send nothing."""


def rewrite_command(arguments: Sequence[str]) -> None:
    """``srl rewrite INPUT -o OUTPUT --base-url URL --model NAME [--recipe FILE] [--setting value ...]``."""
    options = _read_options(arguments)
    config = options.config
    check_format(config.read.format)
    console = Console()
    journal_file = journal_path(options.output)
    items = read_originals(options.source, settings=config.read, rows=config.rows)
    if options.dry_run:
        with Journal(journal_file, read_only=True) as journal:
            print_estimate(estimate(items, config, journal), config, console)
        return
    for name in ("base_url", "model"):
        if not getattr(config, name):
            option = name.replace("_", "-")
            raise ConfigError(f"srl rewrite needs --{option} (or {name} in a recipe); --dry-run works without")
    key = read_key(config.key_variable)
    places = [options.report] if options.report is not None else []
    _check_places(options.source, options.output, places, journal=journal_file, overwrite=options.overwrite)
    summary = _rewrite(items, config, options, journal_file, key)
    print_summary(summary, console, has_prices=bool(config.price_in or config.price_out))
    for name, path in (("rewritten", options.output), ("journal", journal_file), ("left out", options.report)):
        if path is not None:
            console.print(f"{name}: {path}", markup=False, highlight=False, soft_wrap=True)
    if summary.failed or summary.not_asked:
        console.print("Run the same command with --overwrite to ask for the rows that are missing.", soft_wrap=True)
    if summary.num_left_out:
        sys.exit(SOME_LEFT_OUT)


def _rewrite(
    items: Iterator[Item],
    config: RewriteConfig,
    options: RewriteOptions,
    journal_file: Path,
    key: str,
) -> RewriteSummary:
    terminal = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    with (
        Journal(journal_file) as journal,
        whole_file(options.output) as write,
        whole_file(options.report) as report,
        progress,
    ):
        task = progress.add_task("", total=None, counts="asking ...")

        def show(summary: RewriteSummary) -> None:
            counts = f"read {summary.num_read}  rewritten {summary.num_accepted}  left out {summary.num_left_out}"
            if summary.cost:
                counts += f"  ${summary.cost:.2f}"
            progress.update(task, counts=counts)

        return asyncio.run(rewrite(items, config, journal, key=key, write=write, report=report, show=show))


def _read_options(arguments: Sequence[str]) -> RewriteOptions:
    """The options, with the recipe's settings as their defaults."""
    recipe = _recipe_in(arguments)
    try:
        config = load_settings(recipe, RewriteConfig) if recipe else RewriteConfig()
        default = RewriteOptions(source=tyro.MISSING, output=tyro.MISSING, config=config)
        return tyro.cli(RewriteOptions, default=default, args=arguments, prog="srl rewrite")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _recipe_in(arguments: Sequence[str]) -> str:
    """The value of --recipe, "" without one; it is needed before the options can be read."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--recipe":
            return value if equals else next(iter(arguments[index + 1 : index + 2]), "")
    return ""


def _check_places(source: str, output: Path, others: list[Path], *, journal: Path, overwrite: bool) -> None:
    """Raises DataError where writing would destroy the source, another of the files, or one that is not given up."""
    written = [output, *others]
    if len({real_path(place) for place in (source, journal, *written)}) <= len(written) + 1:
        raise DataError("input, output, its journal and report must be different files; nothing was written")
    for place in written:
        if place.exists() and not place.is_file():
            raise DataError(f"{place} exists and is not a file; choose another name")
        if place.exists() and not overwrite:
            raise DataError(
                f"{place} exists already; pass --overwrite to write it anew (answers in the journal are not asked for "
                "again) or choose another name"
            )
