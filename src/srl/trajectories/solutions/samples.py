"""Rows with several sampled solutions of one problem in lists, with marks for right and wrong -> Trajectories.

A sample becomes the trajectory "<id of the row>/<k>", k from 0; one that cannot be used is dropped for itself, so
that a row gives as many items as it has samples. Thinking inside a sample is taken off as everywhere.

Two decisions a reader would question. The reference solution beside the samples is not read, only the reference
answer; who wants it names its column in the settings. And a sample that is marked wrong and comes to no final answer
is dropped as unfinished even where wrong ones are kept: models of long thinking are cut off in the middle of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from srl.trajectories.answers import find_answer
from srl.trajectories.fields import (
    PROBLEM_FIELDS,
    RIGHT_FIELDS,
    check_characters,
    present_field,
    read_answer,
    read_flag,
    read_id,
)
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions import plain
from srl.trajectories.solutions.marks import has_marks
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Trajectory

SAMPLE_FIELDS = (
    "generations",
    "responses",
    "completions",
    "samples",
    "generated_solutions",
    "model_outputs",
    "code",
    "outputs",
    "response",
    "generation",
    "output",
    "completion",
)
_TEXT_KEYS = ("text", "content", "response", "generation", "output", "solution", "completion")
# Checkers in order of trust. Of one group any that says "right" is enough: OpenR1-Math asks a model where its
# comparison of formulas said no.
_FLAG_FIELDS = (
    ("correctness_math_verify", "correctness_llama"),
    ("score",),
    ("scores",),
    *((name,) for name in RIGHT_FIELDS),
    ("labels",),
    ("label",),
    ("rewards",),
    ("reward",),
)


def matches(value: JsonObject) -> bool:
    """Whether a row holds a list of texts under a name for samples, and a problem."""
    return present_field(value, PROBLEM_FIELDS) is not None and _samples_field(value) is not None


def parse(row: Row, settings: ReadSettings) -> Iterator[Trajectory | DroppedRow]:
    """A trajectory or a drop for each sample, in order."""
    name = _named_list(row.value, settings.solution_field) if settings.solution_field else _samples_field(row.value)
    if name is None:
        yield from plain.parse(row, settings)
        return
    samples = cast("list[object]", row.value[name])
    problem = plain.read_problem(row.value, settings)
    answer = read_answer(row.value)
    row_id = read_id(row.value, row.source)
    for place, sample in enumerate(samples):
        try:
            solution, is_right = _text_of(sample, f"{name}[{place}]"), _flag_of(row.value, sample, place, len(samples))
            if is_right is False and not has_marks(solution) and find_answer(solution) is None:
                raise RowError(DropReason.UNFINISHED, "it is marked wrong and comes to no final answer")
            yield solution_trajectory(
                row,
                settings=settings,
                format="samples",
                trajectory_id=f"{row_id}/{place}",
                problem=problem,
                solution=solution,
                answer=answer,
                is_right=is_right,
            )
        except RowError as error:
            yield row.dropped(error.reason, f"sample {place}: {error.detail}")


def _samples_field(value: JsonObject) -> str | None:
    return next((name for name in SAMPLE_FIELDS if _named_list(value, name) is not None), None)


def _named_list(value: JsonObject, name: str) -> str | None:
    """``name`` if it holds a list with at least one sample: a text, or an object with one."""
    items = value.get(name)
    if not isinstance(items, list):
        return None
    return name if any(_sample_text(item) is not None for item in cast("list[object]", items)) else None


def _sample_text(sample: object) -> str | None:
    if isinstance(sample, Mapping) and "role" not in sample:  # a message is no sample
        fields = cast("Mapping[str, object]", sample)
        sample = next((fields[key] for key in _TEXT_KEYS if isinstance(fields.get(key), str)), None)
    return sample if isinstance(sample, str) else None


def _text_of(sample: object, name: str) -> str:
    text = _sample_text(sample)
    if text is None:
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(sample).__name__}, not text")
    if not text.strip():
        raise RowError(DropReason.EMPTY_FIELD, f"{name} is empty")
    return check_characters(text, name)


def _flag_of(value: JsonObject, sample: object, place: int, num_samples: int) -> bool | None:
    """What the first checker that has an opinion says of one sample: its own marks, then lists as long as the samples.

    A list of another length marks something else.
    """
    own: Mapping[str, object] = cast("Mapping[str, object]", sample) if isinstance(sample, Mapping) else {}
    for group in _FLAG_FIELDS:
        flags: list[bool | None] = []
        for name in group:
            flags.append(read_flag(own.get(name)))
            marks = value.get(name)
            if isinstance(marks, list) and len(cast("list[object]", marks)) == num_samples:
                flags.append(read_flag(cast("list[object]", marks)[place]))
        if True in flags:
            return True
        if False in flags:
            return False
    return None
