"""The command ``srl study``: runs what is missing of a study and writes its tables."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape

from srl.errors import ConfigError
from srl.recipe import load_settings
from srl.run_dir import write_json
from srl.study.compare import check_budgets, check_settings
from srl.study.config import Kind, StudyConfig, load_study
from srl.study.grid import Job, missing_jobs, run_jobs
from srl.study.map import cell_study, cells, make_bases
from srl.study.map_results import write_map
from srl.study.plan import BASE, RunKey, describe_run, run_keys
from srl.study.redo import forget_methods
from srl.study.results import STUDY, make_results, write_results
from srl.study.rows import Row, read_rows
from srl.study.show import GridDisplay, print_plan, print_tables
from srl.study.task_data import prepare_task


def study_command(
    study: tyro.conf.Positional[Path],
    *,
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
    lanes: int = 1,
    table_only: bool = False,
    dry_run: bool = False,
    again: tuple[str, ...] = (),
    allow_different: tuple[Kind, ...] = (),
) -> None:
    """Compare methods: run the grid of methods x seeds from one base at one budget, and write tables and a report.

    Does what is missing and nothing twice: the same command again goes on after a stop. Writes results.json,
    results.md and report.html to the study's folder.

    Args:
        study: Study file.
        only: Run these methods alone (and the base); tables show whatever is there.
        seeds: Run these seeds alone.
        lanes: Runs at the same time; each gets its share of the cores.
        table_only: Run nothing; make tables and report from the runs that are there.
        dry_run: Print the grid, the budgets and what is done already, and stop.
        again: Forget the runs of these methods first, and do them again.
        allow_different: Compare runs that differ in this, and say so under every table.
    """
    console = Console()
    config = load_study(study)
    _check_names(config, only, again, seeds)
    if lanes < 1:
        raise ConfigError(f"lanes = {lanes}; at least one run must be possible at a time")
    allow: tuple[Kind, ...] = tuple(dict[Kind, None].fromkeys([*config.allow_different, *allow_different]))
    wanted = [
        key
        for key in run_keys(config)
        if key.method == BASE or ((not only or key.method in only) and (not seeds or key.seed in seeds))
    ]
    parts = _parts(config, dry_run)
    if again and not dry_run:
        for _, part in parts:
            forget_methods(part, again)
    jobs: list[Job] = []
    notes: dict[str, list[str]] = {}
    for name, part in parts:
        notes[name] = _check_rows(part, study, allow, again)
        keys = [key for key in wanted if key.method == BASE or key.method in part.methods]
        jobs += missing_jobs(part, keys, cell=name, forgotten=again)
    if dry_run:
        print_plan(config, parts, wanted, jobs, console)
        return
    _remember(config)
    if not table_only and jobs:
        with GridDisplay(console, jobs) as display:
            run_jobs(jobs, study, lanes=lanes, progress=display.progress)
    for path in _write(config, parts, allow, notes, console):
        console.print(f"wrote {escape(str(path))}", highlight=False, soft_wrap=True)


def rewrite_study(folder: Path) -> Path:
    """Make the files of a study folder again from its rows; returns the report. The rows are taken as they are."""
    config = replace(load_settings(folder / STUDY, StudyConfig), folder=str(folder))
    parts = _parts(config, dry_run=True)
    paths = _write(config, parts, ("budget", "data", "base"), {name: [] for name, _ in parts}, None)
    return paths[-1]


def _parts(config: StudyConfig, dry_run: bool) -> list[tuple[str, StudyConfig]]:
    """The studies to run by name: the one, or the cells of a map; with the bases that the cells need."""
    if config.map is None:
        return [("", config)]
    if not dry_run:
        make_bases(config)
    return [(cell.name, cell_study(config, cell.name)) for cell in cells(config)]


def _check_rows(part: StudyConfig, study_file: Path, allow: tuple[Kind, ...], again: tuple[str, ...]) -> list[str]:
    """Every setting and every row, before anything is run; in a dry run those to be made again are still there."""
    files = prepare_task(part)
    expected = {key: describe_run(part, study_file, key, files) for key in run_keys(part)}
    rows = {key: row for key, row in read_rows(part.folder).items() if key in expected and key.method not in again}
    return check_settings(part, rows, expected, allow)


def _write(
    config: StudyConfig,
    parts: list[tuple[str, StudyConfig]],
    allow: tuple[Kind, ...],
    notes: dict[str, list[str]],
    console: Console | None,
) -> list[Path]:
    found: dict[str, dict[RunKey, Row]] = {}
    for name, part in parts:
        keys = set(run_keys(part))
        found[name] = {key: row for key, row in sorted(read_rows(part.folder).items()) if key in keys}
        notes[name] += check_budgets(part, found[name], allow)
    if not any(found.values()):
        raise ConfigError(f"{config.folder} holds no runs yet; run the study first")
    if config.map is not None:
        return write_map(config, dict(parts), found, notes, console)
    results = make_results(config, found[""], notes[""])
    if console is not None:
        print_tables(results, console)
    return write_results(results)


def _remember(config: StudyConfig) -> None:
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STUDY, asdict(config))


def _check_names(config: StudyConfig, only: tuple[str, ...], again: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    for option, names in (("--only", only), ("--again", again)):
        unknown = [name for name in names if name not in (*config.methods, BASE)]
        if unknown:
            raise ConfigError(
                f"{option} names {', '.join(unknown)}; the study has {', '.join(config.methods)} and base"
            )
    other = [seed for seed in seeds if seed not in config.seeds]
    if other:
        raise ConfigError(f"--seeds names {other}; the study has {list(config.seeds)}")
