"""Trajectory -> StepExamples, their JSON, and what training takes from them (4.2 of the paper).

A trajectory of N steps gives N examples. Whether the last one is trained on is a setting of the reader
(``include_last_step``), so that a file of examples serves both choices. Whatever is left out is returned as
DroppedRow, never lost.

The decision a reader would question: ``split_by_trajectory`` keeps trajectories with the same problem text on one
side. Data sets hold the same problem several times (AMC 10 and AMC 12 share questions; several solutions per
problem), and a split by trajectory alone would validate on problems that were trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

from srl.errors import DataError
from srl.trajectories.fields import check_characters, read_label, read_text
from srl.trajectories.reader import describe_drop, parse_trajectories
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row, read_rows
from srl.types import DroppedRow, Problem, Source, StepExample, Trajectory


def make_step_examples(trajectory: Trajectory) -> list[StepExample]:
    """One example per step, the last included: predict step k from the problem and steps 0 .. k-1."""
    texts = tuple(step.text for step in trajectory.steps)
    return [
        StepExample(
            trajectory_id=trajectory.trajectory_id,
            step_index=index,
            num_steps=len(texts),
            problem=trajectory.problem,
            context=texts[:index],
            title=step.title,
            target_action=step.text.strip(),
            target_body=step.body,
            answer=trajectory.answer,
            source=trajectory.source,
        )
        for index, step in enumerate(trajectory.steps)
    ]


def to_json(example: StepExample) -> dict[str, object]:
    """The example as one JSON object; ``from_json`` gives an equal example back."""
    return {
        "trajectory_id": example.trajectory_id,
        "step_index": example.step_index,
        "num_steps": example.num_steps,
        "problem": example.problem,
        "context": list(example.context),
        "title": example.title,
        "target_action": example.target_action,
        "target_body": example.target_body,
        "answer": example.answer,
        "source": {"file": example.source.file, "row": example.source.row},
    }


def from_json(value: object, *, found_in: Source | None = None) -> StepExample:
    """The example in a JSON object as ``to_json`` makes it; other fields are ignored.

    ``title``, ``target_body``, ``answer`` and ``source`` may be missing: "", the target action, None, ``found_in``.
    Raises DataError (RowError, with its drop reason) if the object is no step example or contradicts itself.
    """
    if not isinstance(value, Mapping):
        raise RowError(DropReason.NOT_AN_OBJECT, f"found {type(value).__name__}")
    row = cast("Mapping[str, object]", value)
    trajectory_id = read_label(row, ("trajectory_id",))
    if trajectory_id is None:
        raise RowError(DropReason.MISSING_FIELD, "trajectory_id is missing or empty")
    step_index, num_steps, context = _read_int(row, "step_index"), _read_int(row, "num_steps"), _read_context(row)
    if not 0 <= step_index < num_steps or len(context) != step_index:
        found = f"step_index {step_index}, num_steps {num_steps}, {len(context)} texts in context"
        raise RowError(DropReason.INCONSISTENT, f"{found}; step k of N has k earlier texts and k < N")
    target_action = read_text(row, ("target_action",))
    return StepExample(
        trajectory_id=trajectory_id,
        step_index=step_index,
        num_steps=num_steps,
        problem=read_text(row, ("problem",)),
        context=context,
        title=_read_optional(row, "title", ""),
        target_action=target_action,
        target_body=_read_optional(row, "target_body", target_action),
        answer=read_label(row, ("answer",)),
        source=_read_source(row, found_in),
    )


def load_step_examples(source: str, *, include_last_step: bool) -> tuple[list[StepExample], list[DroppedRow]]:
    """The step examples of a file or Hub dataset of trajectories or of step examples, and the rows left out.

    Which of the two it holds is read from its first good row: step examples have ``step_index`` and
    ``target_action``. Without ``include_last_step`` the last step of every trajectory is left out, which is a setting
    and not a drop. Raises DataError if no example remains.
    """
    examples: list[StepExample] = []
    dropped: list[DroppedRow] = []
    for item in _read_examples(read_rows(source)):
        if isinstance(item, DroppedRow):
            dropped.append(item)
        elif include_last_step or item.step_index < item.num_steps - 1:
            examples.append(item)
    if not examples:
        first = f"; the first: {describe_drop(dropped[0])}" if dropped else ""
        raise DataError(f"{source} holds no step example to train on; {len(dropped)} rows were dropped{first}")
    return examples, dropped


def split_by_trajectory(
    examples: Sequence[StepExample], num_validation: int, seed: int
) -> tuple[list[StepExample], list[StepExample]]:
    """(train, validation): ``num_validation`` whole trajectories are held out; both keep the order of ``examples``.

    Depends on the seed, the ids and the problem texts only, not on the order of the file. Trajectories with the same
    problem (letters and digits compared) stay together; where a group of them does not fit, fewer are held out.
    Raises DataError if nothing would be left to train on, or nothing could be held out.
    """
    problems = {example.trajectory_id: problem_key(example.problem) for example in examples}
    groups: dict[str, list[str]] = {}
    for trajectory_id, key in problems.items():
        groups.setdefault(key, []).append(trajectory_id)
    if num_validation < 0 or num_validation >= len(problems):
        raise DataError(
            f"cannot hold {num_validation} of {len(problems)} trajectories out for validation: "
            "at least one must be left to train on; lower num_validation_trajectories or name a validation file"
        )
    # Paper: 4.2 holds out questions; here every trajectory with the same question goes with it.
    held_out: set[str] = set()
    for key in sorted(groups, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()):
        if len(held_out) + len(groups[key]) <= num_validation:
            held_out.update(groups[key])
    if num_validation and not held_out:
        raise DataError("nothing can be held out for validation: too many trajectories share the same problem")
    train = [example for example in examples if example.trajectory_id not in held_out]
    return train, [example for example in examples if example.trajectory_id in held_out]


def problems_of(examples: Iterable[StepExample]) -> tuple[list[Problem], int]:
    """The problems of the trajectories behind ``examples``, in order, and how many have no answer to be scored by."""
    first_examples: dict[str, StepExample] = {}
    for example in examples:
        first_examples.setdefault(example.trajectory_id, example)
    problems = [
        Problem(problem_id=example.trajectory_id, problem=example.problem, answer=example.answer)
        for example in first_examples.values()
        if example.answer is not None
    ]
    return problems, len(first_examples) - len(problems)


def _read_examples(rows: Iterator[Row | DroppedRow]) -> Iterator[StepExample | DroppedRow]:
    for row in rows:
        if isinstance(row, DroppedRow):
            yield row
        elif "target_action" in row.value and "step_index" in row.value:
            yield from _parse_examples(chain([row], rows))
        else:
            for item in parse_trajectories(chain([row], rows)):
                yield from [item] if isinstance(item, DroppedRow) else make_step_examples(item)


def _parse_examples(rows: Iterable[Row | DroppedRow]) -> Iterator[StepExample | DroppedRow]:
    seen: dict[tuple[str, int], int] = {}
    for row in rows:
        if isinstance(row, DroppedRow):
            yield row
            continue
        try:
            example = from_json(row.value, found_in=row.source)
            first = seen.setdefault((example.trajectory_id, example.step_index), row.source.row)
            if first != row.source.row:
                detail = f"step {example.step_index} of {example.trajectory_id!r} is also in row {first}"
                raise RowError(DropReason.DUPLICATE_ID, detail)
        except RowError as error:
            yield row.dropped(error.reason, error.detail)
        else:
            yield example


def problem_key(problem: str) -> str:
    """Letters and digits only; a problem without any (a bare formula of signs) stands for itself."""
    return "".join(character for character in problem.casefold() if character.isalnum()) or problem


def _read_int(row: Mapping[str, object], name: str) -> int:
    value = row.get(name)
    if value is None:
        raise RowError(DropReason.MISSING_FIELD, f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not an integer")
    return value


def _read_context(row: Mapping[str, object]) -> tuple[str, ...]:
    value = row.get("context")
    if value is None:
        raise RowError(DropReason.MISSING_FIELD, "context is missing")
    if not isinstance(value, (list, tuple)):
        raise RowError(DropReason.WRONG_TYPE, f"context is {type(value).__name__}, not a list")
    texts = cast("Sequence[object]", value)
    return tuple(read_text({f"context[{index}]": text}, (f"context[{index}]",)) for index, text in enumerate(texts))


def _read_optional(row: Mapping[str, object], name: str, default: str) -> str:
    value = row.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not text")
    return check_characters(value, name)


def _read_source(row: Mapping[str, object], found_in: Source | None) -> Source:
    value = row.get("source")
    if value is None:
        if found_in is None:
            raise RowError(DropReason.MISSING_FIELD, "source is missing")
        return found_in
    if not isinstance(value, Mapping):
        raise RowError(DropReason.WRONG_TYPE, f"source is {type(value).__name__}, not an object")
    place = cast("Mapping[str, object]", value)
    return Source(file=_read_optional(place, "file", ""), row=_read_int(place, "row"))
