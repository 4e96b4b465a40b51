"""The folder of an evaluation: what must match before it is continued, and its samples.

    settings.json   what decides the samples; a second call with anything else is refused
    samples.jsonl   one SolveRecord per line, appended batch by batch
    scores.json     the scores, how the samples ended, and the settings (written by runner.py)

A kill at any moment leaves a folder that can be continued: a line that was cut off is removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from srl.errors import RunDirError
from srl.evaluation.solve import Mode, SolveOutcome, SolveRecord
from srl.run_dir import write_json

SampleKey = tuple[Mode, bool, str, int]
"""(mode, greedy, problem id, sample index): what a sample is known by."""


def sample_key(record: SolveRecord) -> SampleKey:
    """The key of a finished sample."""
    return record.mode, record.temperature == 0, record.problem_id, record.sample_index


def open_folder(output: Path, described: Mapping[str, Any]) -> None:
    """Make the folder, or make sure that it holds samples of these very settings."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "settings.json"
    if not path.exists():
        others = sorted(entry.name for entry in output.iterdir() if entry.suffix != ".tmp")
        if others:
            raise RunDirError(f"{output} holds {others[0]} but no settings.json; choose another output folder")
        write_json(path, described)
        return
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunDirError(f"{path} is not valid JSON ({error}); remove {output} or choose another") from error
    names = [*described, *(name for name in recorded if name not in described)]
    differences = [
        f"{name} was {recorded.get(name)!r} and is {described.get(name)!r}"
        for name in names
        if recorded.get(name) != described.get(name)
    ]
    if differences:
        raise RunDirError(
            f"{output} holds an evaluation with other settings; use the same, or another folder. Different: "
            + "; ".join(differences)
        )


def read_samples(path: Path) -> list[SolveRecord]:
    """The finished samples; a last line that was cut off is removed from the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    adapter = TypeAdapter(SolveRecord)
    records: list[SolveRecord] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            records.append(adapter.validate_json(line))
        except ValidationError as error:
            raise RunDirError(f"{path}, line {number} is no sample ({error.errors()[0]['msg']}); remove it") from error
    return records


def append_samples(path: Path, records: Sequence[SolveRecord]) -> None:
    """Add lines in one write, and hand them to the operating system before returning."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("".join(json.dumps(asdict(record)) + "\n" for record in records))


def count_ungraded(output: Path) -> int:
    """How many samples of a finished evaluation could not be graded, and are left out of its scores."""
    outcomes = json.loads((output / "scores.json").read_text(encoding="utf-8"))["outcomes"]
    return sum(counts.get(SolveOutcome.UNGRADED, 0) for counts in outcomes.values())
