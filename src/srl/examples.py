"""Trajectory -> StepExamples, and their JSON (4.2 and 5.3 of the paper).

A trajectory of N steps has N examples: predict step k from the problem and what came before it. Which of them are
trained on is a setting, and whatever a setting leaves out is counted.

The decision a reader would question: a file of examples holds all N of them, the last included, so that one file
serves every choice of ``include_last_step`` and of the limits. Only ``context_turns`` is fixed when it is written,
because every agent's example with its whole history would make the file quadratic in the length of the logs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from srl.trajectories.fields import check_characters, read_label, read_text
from srl.trajectories.reasons import DropReason, RowError
from srl.types import Source, StepExample, Trajectory, TrajectoryKind

CONTEXT_TURNS = 2
"""Rounds of action and observation in an agent's context (5.3 of the paper)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleSettings:
    """Which step examples of a trajectory are trained on."""

    include_last_step: bool = False
    """Also the last step of each trajectory."""
    min_target_chars: int = 0
    """Leave out examples whose target action is shorter."""
    max_target_chars: int = 0
    """Leave out examples whose target action is longer; 0: no limit."""
    max_per_trajectory: int = 0
    """At most this many examples of a trajectory, chosen by their ids; 0: no limit."""
    context_turns: int = CONTEXT_TURNS
    """Rounds of action and observation that an agent's example shows."""


def make_step_examples(trajectory: Trajectory, *, context_turns: int = CONTEXT_TURNS) -> list[StepExample]:
    """One example per step, the last included.

    A solution's example has all earlier steps as its context; an agent's has the last ``context_turns`` actions with
    their observations.
    """
    steps = trajectory.steps
    is_agent = trajectory.kind == "agent"
    examples: list[StepExample] = []
    for index, step in enumerate(steps):
        shown = steps[max(0, index - context_turns) : index] if is_agent else steps[:index]
        examples.append(
            StepExample(
                trajectory_id=trajectory.trajectory_id,
                step_index=index,
                num_steps=len(steps),
                problem=trajectory.problem,
                context=tuple(earlier.text for earlier in shown),
                title=step.title,
                target_action=step.text.strip(),
                target_body=step.body,
                answer=trajectory.answer,
                source=trajectory.source,
                kind=trajectory.kind,
                observations=tuple(earlier.observation for earlier in shown) if is_agent else (),
                target_thought=step.thought,
                reasoning=trajectory.reasoning if index == len(steps) - 1 else "",
            )
        )
    return examples


def select_examples(
    examples: Sequence[StepExample], settings: ExampleSettings
) -> tuple[list[StepExample], Counter[str]]:
    """The examples of one trajectory that ``settings`` train on, in order, and how many were left out by which one."""
    left_out = Counter[str]()
    kept: list[StepExample] = []
    for example in examples:
        reason = _left_out_by(example, settings)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(example)
    if settings.max_per_trajectory and len(kept) > settings.max_per_trajectory:
        chosen = sorted(kept, key=_draw)[: settings.max_per_trajectory]
        left_out["over_max_per_trajectory"] += len(kept) - len(chosen)
        kept = sorted(chosen, key=lambda example: example.step_index)
    return kept, left_out


def _left_out_by(example: StepExample, settings: ExampleSettings) -> str:
    if not settings.include_last_step and example.step_index == example.num_steps - 1:
        return "last_step"
    length = len(example.target_action)
    if length < settings.min_target_chars:
        return "target_too_short"
    return "target_too_long" if settings.max_target_chars and length > settings.max_target_chars else ""


def _draw(example: StepExample) -> bytes:
    """A fixed lot for each example, so that the choice depends on nothing but the ids."""
    return hashlib.sha256(f"{example.trajectory_id}#{example.step_index}".encode()).digest()


def to_json(example: StepExample) -> dict[str, object]:
    """The example as one JSON object; ``from_json`` gives an equal example back. Solutions have no agents' fields."""
    value: dict[str, object] = {
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
    if example.kind == "agent":
        value |= {"kind": example.kind, "observations": list(example.observations)}
        value |= {"target_thought": example.target_thought}
    elif example.target_thought:
        value["target_thought"] = example.target_thought
    if example.reasoning:
        value["reasoning"] = example.reasoning
    return value


def from_json(value: object, *, found_in: Source | None = None) -> StepExample:
    """The example in a JSON object as ``to_json`` makes it; other fields are ignored.

    May be missing: ``title`` (""), ``target_body`` (the target action), ``answer`` (None), ``source`` (``found_in``),
    ``kind`` ("solution"), ``observations`` (none), ``target_thought`` (""), ``reasoning`` ("").
    Raises DataError (RowError, with its drop reason) if the object is no step example or contradicts itself.
    """
    if not isinstance(value, Mapping):
        raise RowError(DropReason.NOT_AN_OBJECT, f"found {type(value).__name__}")
    row = cast("Mapping[str, object]", value)
    trajectory_id = read_label(row, ("trajectory_id",))
    if trajectory_id is None:
        raise RowError(DropReason.MISSING_FIELD, "trajectory_id is missing or empty")
    step_index, num_steps = _read_int(row, "step_index"), _read_int(row, "num_steps")
    kind, context = _read_kind(row), _read_texts(row, "context", may_be_empty=False)
    observations = _read_texts(row, "observations", may_be_empty=True) if kind == "agent" else ()
    whole = len(context) == step_index if kind == "solution" else len(context) <= step_index
    if not 0 <= step_index < num_steps or not whole:
        found = f"step_index {step_index}, num_steps {num_steps}, {len(context)} texts in context"
        raise RowError(DropReason.INCONSISTENT, f"{found}; step k of N has k earlier texts (agents: up to k) and k < N")
    if kind == "agent" and len(observations) != len(context):
        found = f"{len(context)} actions in context, {len(observations)} observations"
        raise RowError(DropReason.INCONSISTENT, f"{found}; every action of an agent's context has one")
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
        kind=kind,
        observations=observations,
        target_thought=_read_optional(row, "target_thought", ""),
        reasoning=_read_optional(row, "reasoning", ""),
    )


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


def _read_kind(row: Mapping[str, object]) -> TrajectoryKind:
    value = row.get("kind")
    if value is None:
        return "solution"
    if value not in ("solution", "agent"):
        raise RowError(DropReason.WRONG_TYPE, f'kind is {ascii(value)[:40]}; use "solution" or "agent"')
    return "agent" if value == "agent" else "solution"


def _read_texts(row: Mapping[str, object], name: str, *, may_be_empty: bool) -> tuple[str, ...]:
    """A list of texts. An observation may be an empty text; the text of a step may not."""
    value = row.get(name)
    if value is None:
        raise RowError(DropReason.MISSING_FIELD, f"{name} is missing")
    if not isinstance(value, (list, tuple)):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not a list")
    texts = {f"{name}[{index}]": text for index, text in enumerate(cast("Sequence[object]", value))}
    if may_be_empty:
        return tuple(_read_optional(texts, place, "") for place in texts)
    return tuple(read_text(texts, (place,)) for place in texts)


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
