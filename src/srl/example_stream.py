"""The order in which training examples are drawn, and the only state it needs.

Every epoch is a permutation that depends on (seed, epoch) alone, so the position in the data is three small values
that go into a checkpoint: epoch, offset and the queue of examples that were given back. Only ids are held here; an
example is made when it is drawn. Drawn by trajectory, the permutation is one of trajectories, and the examples of one
come together in the order of its steps.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal, TypedDict

from srl.errors import DataError
from srl.seeds import derive_seed
from srl.training_examples import TrainingExamples
from srl.types import TrainingExample


class StreamState(TypedDict):
    """What a checkpoint keeps of a stream."""

    epoch: int
    offset: int
    given_back: list[str]
    fingerprint: str


class ExampleStream:
    """Draws examples epoch after epoch, each example once per epoch, for ``num_epochs`` epochs."""

    def __init__(
        self,
        examples: Sequence[TrainingExample],
        *,
        seed: int,
        num_epochs: int,
        draw_by: Literal["example", "trajectory"] = "example",
    ) -> None:
        self._examples = examples
        lazy = isinstance(examples, TrainingExamples)
        ids = examples.ids if lazy else [example.example_id for example in examples]
        self._places = {example_id: place for place, example_id in enumerate(ids)}
        if len(self._places) != len(examples):
            raise DataError(f"{len(examples) - len(self._places)} training examples share their id with another")
        self._units = [[example_id] for example_id in sorted(ids)]
        if draw_by == "trajectory":
            self._units = _by_trajectory(ids, examples.positions if lazy else list(map(_position, examples)))
        self._seed = seed
        self._num_epochs = num_epochs
        self._epoch = 0
        self._offset = 0
        self._given_back: list[str] = []
        self._order: list[str] = self._permutation()
        self._fingerprint = examples.fingerprint if lazy else _fingerprint(examples)

    def draw(self, num_examples: int) -> list[TrainingExample]:
        """The next examples, given-back ones first; fewer at the end of the last epoch, [] after it."""
        ids, self._given_back = self._given_back[:num_examples], self._given_back[num_examples:]
        while len(ids) < num_examples and self._epoch < self._num_epochs:
            taken = self._order[self._offset : self._offset + num_examples - len(ids)]
            ids = ids + taken
            self._offset += len(taken)
            if self._offset == len(self._order):
                self._epoch, self._offset = self._epoch + 1, 0
                self._order = self._permutation()
        return [self._examples[self._places[example_id]] for example_id in ids]

    def give_back(self, examples: Sequence[TrainingExample]) -> None:
        """Examples to draw before any other."""
        self._given_back = [example.example_id for example in examples] + self._given_back

    @property
    def is_exhausted(self) -> bool:
        """Whether ``draw`` has nothing more to give."""
        return self._epoch >= self._num_epochs and not self._given_back

    @property
    def epoch(self) -> float:
        """Epochs drawn so far, for instance 1.5."""
        return self._epoch + self._offset / max(1, len(self._order))

    def state(self) -> StreamState:
        """What ``restore`` needs."""
        return {
            "epoch": self._epoch,
            "offset": self._offset,
            "given_back": list(self._given_back),
            "fingerprint": self._fingerprint,
        }

    def restore(self, state: StreamState) -> None:
        """Continue where ``state`` was taken; the examples must be the same."""
        if state["fingerprint"] != self._fingerprint:
            raise DataError("the training data differs from the data of the run that is resumed")
        self._epoch, self._offset = state["epoch"], state["offset"]
        self._given_back = list(state["given_back"])
        self._order = self._permutation()

    def _permutation(self) -> list[str]:
        units = list(self._units)
        random.Random(derive_seed(self._seed, "order", self._epoch)).shuffle(units)
        return [example_id for unit in units for example_id in unit]


def _by_trajectory(ids: Sequence[str], positions: Sequence[tuple[str, int]]) -> list[list[str]]:
    """The ids of each trajectory in the order of its steps; the trajectories by their own ids."""
    units: dict[str, list[str]] = {}
    for (trajectory_id, _), example_id in sorted(zip(positions, ids, strict=True)):
        units.setdefault(trajectory_id, []).append(example_id)
    return list(units.values())


def _position(example: TrainingExample) -> tuple[str, int]:
    """Trajectory id and step index; an example without a step is a trajectory of its own."""
    step = example.step
    return (example.example_id, 0) if step is None else (step.trajectory_id, step.step_index)


def _fingerprint(examples: Sequence[TrainingExample]) -> str:
    """Changes with any word of any prompt or target, not with their order."""
    digests = sorted(hashlib.sha256(repr(example).encode(errors="surrogatepass")).digest() for example in examples)
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]
