"""One unit of input -> records. Runs in every worker process, and in the caller's where one process is enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from srl.context import cut_to_chars
from srl.decomposition.records import TrajectoryRecord, WorkerOptions
from srl.examples import make_step_examples, to_json
from srl.prompts import DEFAULT_TEXTS
from srl.trajectories.reader import parse_rows, scoped_id
from srl.trajectories.reasons import DropReason
from srl.trajectories.repetition import chain_of, dropped
from srl.trajectories.rows import Unit, read_unit
from srl.types import DroppedRow, Step, Trajectory


class Worker:
    """Turns units into records."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        # "Right" can come from the outcomes, so wrong ones are left out here and not in the readers.
        reading = options.reading
        self._reading = replace(reading, only_right=False) if options.outcomes else reading

    def read(self, unit: Unit) -> Iterator[TrajectoryRecord | DroppedRow]:
        """The records of ``unit`` and its dropped rows, in order."""
        for item in parse_rows(read_unit(unit), self._reading):
            yield item if isinstance(item, DroppedRow) else self._record(item)

    def _record(self, trajectory: Trajectory) -> TrajectoryRecord | DroppedRow:
        options = self._options
        own_id = trajectory.trajectory_id
        if options.root:
            trajectory = replace(trajectory, trajectory_id=scoped_id(own_id, trajectory.source.file, options.root))
        # Outcomes name runs as the logs do; the scoped id tells two runs of one task apart.
        outcome = options.outcomes.get(trajectory.trajectory_id, options.outcomes.get(own_id))
        is_right = trajectory.is_right if outcome is None else outcome
        if options.reading.only_right and is_right is False:
            return dropped(trajectory.source, DropReason.MARKED_WRONG, "the outcomes mark it as wrong")
        if options.benchmarks is not None:
            overlap = options.benchmarks.find(trajectory.problem)
            if overlap is not None:
                found = f"{overlap.kind} match, similarity {overlap.similarity:.2f}"
                detail = f"{found}, with {overlap.problem_id!r} of {overlap.benchmark}"
                return dropped(trajectory.source, DropReason.IN_BENCHMARK, detail)
        steps = tuple(shorten_observation(step, options.max_observation_chars) for step in trajectory.steps)
        trajectory = replace(trajectory, steps=steps)
        values = [to_json(example) for example in make_step_examples(trajectory, context_turns=options.context_turns)]
        return TrajectoryRecord(
            trajectory_id=trajectory.trajectory_id,
            problem=trajectory.problem,
            chain=chain_of(trajectory),
            source=trajectory.source,
            format=trajectory.format,
            splitter=trajectory.splitter,
            num_steps=len(steps),
            has_answer=trajectory.answer is not None,
            is_right=is_right,
            lacks_outcome=bool(options.outcomes) and outcome is None,
            notes=trajectory.notes,
            examples=(_to_arrow(values),) if options.as_arrow else tuple(_to_line(value) for value in values),
        )


def shorten_observation(step: Step, max_chars: int) -> Step:
    """The step with its observation cut in the middle, a line in the gap saying how much is missing."""
    if not max_chars or len(step.observation) <= max_chars:
        return step
    marker = DEFAULT_TEXTS.agent_cut_marker
    return replace(step, observation=cut_to_chars(step.observation, max_chars, marker=marker))


def _to_line(value: dict[str, object]) -> bytes:
    # A path that is no valid UTF-8 can stand in a record; its bytes are then written as JSON escapes.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="backslashreplace") + b"\n"


def _to_arrow(values: list[dict[str, object]]) -> bytes:
    """One Arrow IPC stream with the examples of a trajectory."""
    arrow: Any = import_module("pyarrow")
    shards: Any = import_module("srl.decomposition.shards")
    schema = shards.example_schema()
    complete = [{name: value.get(name) for name in schema.names} for value in values]
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(arrow.RecordBatch.from_pylist(complete, schema=schema))
    return sink.getvalue().to_pybytes()
