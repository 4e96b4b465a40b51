"""``srl diagnose`` on the command line: a run folder -> what its reward paid for, in the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from srl.diagnosis.diagnose import diagnose_run
from srl.diagnosis.records import StageDiagnosis
from srl.diagnosis.show import show_diagnosis
from srl.errors import ConfigError, DataError
from srl.run_dir import write_text
from srl.saved_run.load import load_run


def diagnose_command(
    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")],
    /,
    *,
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    examples: Annotated[int, tyro.conf.arg(metavar="N")] = 2,
) -> None:
    """Show what the reward of a finished, running or interrupted run paid for; the run itself is left alone.

    Args:
        run_dir: The run_dir of a recipe that was trained.
        json: Write all numbers and examples to this file, too.
        examples: Show so many examples of each kind, at most.
    """
    if examples < 0:
        raise ConfigError(f"--examples {examples}: the number of examples must be at least 0")
    run = load_run(run_dir)
    stages = diagnose_run(run, num_examples=examples)
    show_diagnosis(stages, run.notes, Console(highlight=False, emoji=False))
    if json is not None:
        write_diagnosis(json, stages, run.notes)


def write_diagnosis(path: Path, stages: Sequence[StageDiagnosis], notes: Sequence[str]) -> None:
    """``{"stages": [...], "notes": [...]}``, whole or not at all; the fields are those of the records.

    Raises DataError where the file cannot be written.
    """
    text = json.dumps({"stages": [asdict(stage) for stage in stages], "notes": [*notes]}, indent=2, allow_nan=False)
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; does its folder exist?") from error
