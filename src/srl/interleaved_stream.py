"""Two streams in one: step examples and whole problems, mixed by a share that the progress of the stage decides.

In place of a hard switch from SRL to RLVR (ours, not the paper's). The share is one of draws: dynamic sampling then
keeps or rejects each group, whichever stream it comes from. Which stream is next follows from a running sum, not from
chance, so that any ten draws at a share of 0.3 hold three problems.

The decision a reader would question: the mix ends with the first stream that is at its end. What the other one still
has would come in a share that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from srl.errors import DataError
from srl.example_stream import ExampleStream, StreamState
from srl.types import TrainingExample


class InterleavedState(TypedDict):
    """What a checkpoint keeps of both streams."""

    steps: StreamState
    problems: StreamState
    credit: float


class InterleavedStream:
    """Draws like an ``ExampleStream``, from two."""

    def __init__(self, steps: ExampleStream, problems: ExampleStream, *, first_share: float, last_share: float) -> None:
        """The share of problems goes evenly from ``first_share`` to ``last_share`` with the progress of the stage.

        Raises DataError if an id is that of a step and of a problem: what is given back goes by its id.
        """
        if shared := steps.ids & problems.ids:
            raise DataError(f"{len(shared)} ids are those of a step and of a problem, for instance {min(shared)!r}")
        self._steps, self._problems = steps, problems
        self._first, self._last = first_share, last_share
        self._share = first_share
        self._credit = 0.0

    def begin(self, progress: float) -> None:
        """Mix by the share that belongs to ``progress``, in [0, 1], from now on."""
        self._share = self._first + (self._last - self._first) * min(1.0, progress)
        for stream in (self._steps, self._problems):
            stream.begin(progress)

    def draw(self, num_examples: int) -> list[TrainingExample]:
        """The next examples; fewer, or [], when one of the streams is at its end."""
        drawn: list[TrainingExample] = []
        while len(drawn) < num_examples and not self.is_exhausted:
            self._credit += self._share
            is_problem = self._credit >= 1 - 1e-9  # ten times 0.1 is a little less than 1
            self._credit -= is_problem
            drawn += (self._problems if is_problem else self._steps).draw(1)
        return drawn

    def give_back(self, example_ids: Sequence[str]) -> None:
        """Examples to draw before any other of their kind."""
        for stream in (self._steps, self._problems):
            stream.give_back([example_id for example_id in example_ids if example_id in stream.ids])

    @property
    def is_exhausted(self) -> bool:
        """Whether ``draw`` has nothing more to give."""
        return self._steps.is_exhausted or self._problems.is_exhausted

    @property
    def epoch(self) -> float:
        """Of the stream that has been drawn from more often, relative to its size."""
        return max(self._steps.epoch, self._problems.epoch)

    def state(self) -> InterleavedState:
        """What ``restore`` needs."""
        return {"steps": self._steps.state(), "problems": self._problems.state(), "credit": self._credit}

    def restore(self, state: InterleavedState) -> None:
        """Continue where ``state`` was taken."""
        self._steps.restore(state["steps"])
        self._problems.restore(state["problems"])
        self._credit = state["credit"]
