"""The order in which training examples are drawn, and the only state it needs.

Every pass over a pool of examples is a permutation that depends on (seed, pool, pass) alone, so the position in the
data is a few small values that go into a checkpoint, and the queue of examples that were given back. Only ids are held
here; an example is made when it is drawn. Drawn by trajectory, the permutation is one of trajectories, and the examples
of one come together in the order of its steps.

A stage without a curriculum has one pool, all examples. With one, the progress of the stage decides which pool is drawn
from (R3's sliding starts; easy examples first).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal, TypedDict

from srl.errors import DataError
from srl.seeds import derive_seed
from srl.training_examples import TrainingExamples
from srl.types import TrainingExample


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What is drawn from in one part of a stage."""

    until: float
    """The progress of the stage, in [0, 1], at which the next pool takes over; of no meaning for the last one."""
    ids: Sequence[str]
    """Example ids, at least one."""


class StreamState(TypedDict):
    """What a checkpoint keeps of a stream."""

    pool: int
    round: int
    offset: int
    num_drawn: int
    given_back: list[str]
    fingerprint: str


class ExampleStream:
    """Draws examples pass after pass, until ``num_epochs`` times as many as there are have been drawn."""

    def __init__(
        self,
        examples: Sequence[TrainingExample],
        *,
        seed: int,
        num_epochs: int,
        draw_by: Literal["example", "trajectory"] = "example",
        pools: Sequence[Pool] = (),
    ) -> None:
        """``pools`` in order; none: one pool of everything. Each example is drawn once in a pass over a pool."""
        self._examples = examples
        ids = ids_of(examples)
        self._places = {example_id: place for place, example_id in enumerate(ids)}
        if len(self._places) != len(examples):
            raise DataError(f"{len(examples) - len(self._places)} training examples share their id with another")
        units = [[example_id] for example_id in sorted(ids)]
        if draw_by == "trajectory":
            units = _by_trajectory(ids, positions_of(examples))
        self._pools = [Pool(until=1.0, ids=ids)] if not pools else list(pools)
        self._units = [_within(units, set(pool.ids)) for pool in self._pools]
        self._seed = seed
        self._num_examples = num_epochs * len(ids)
        self._pool = self._round = self._offset = self._num_drawn = 0
        self._given_back: list[str] = []
        self._order: list[str] = self._permutation()
        self._fingerprint = examples.fingerprint if isinstance(examples, TrainingExamples) else _fingerprint(examples)

    def begin(self, progress: float) -> None:
        """Draw from the pool that belongs to ``progress``, in [0, 1], from now on."""
        last = len(self._pools) - 1
        pool = next((place for place in range(last) if progress < self._pools[place].until), last)
        if pool != self._pool:
            self._pool, self._round, self._offset = pool, 0, 0
            self._order = self._permutation()

    def draw(self, num_examples: int) -> list[TrainingExample]:
        """The next examples, given-back ones first; fewer at the end of the last epoch, [] after it."""
        ids, self._given_back = self._given_back[:num_examples], self._given_back[num_examples:]
        while len(ids) < num_examples and self._num_drawn < self._num_examples:
            wanted = min(num_examples - len(ids), self._num_examples - self._num_drawn)
            taken = self._order[self._offset : self._offset + wanted]
            ids = ids + taken
            self._offset += len(taken)
            self._num_drawn += len(taken)
            if self._offset == len(self._order):
                self._round, self._offset = self._round + 1, 0
                self._order = self._permutation()
        return [self._examples[self._places[example_id]] for example_id in ids]

    def give_back(self, example_ids: Sequence[str]) -> None:
        """Examples to draw before any other."""
        self._given_back = [*example_ids, *self._given_back]

    @property
    def ids(self) -> Set[str]:
        """The ids of its examples."""
        return self._places.keys()

    @property
    def is_exhausted(self) -> bool:
        """Whether ``draw`` has nothing more to give."""
        return self._num_drawn >= self._num_examples and not self._given_back

    @property
    def epoch(self) -> float:
        """Examples drawn so far as a multiple of their number, for instance 1.5."""
        return self._num_drawn / max(1, len(self._places))

    def state(self) -> StreamState:
        """What ``restore`` needs."""
        return {
            "pool": self._pool,
            "round": self._round,
            "offset": self._offset,
            "num_drawn": self._num_drawn,
            "given_back": list(self._given_back),
            "fingerprint": self._fingerprint,
        }

    def restore(self, state: StreamState) -> None:
        """Continue where ``state`` was taken; the examples must be the same."""
        if state["fingerprint"] != self._fingerprint:
            raise DataError("the training data differs from the data of the run that is resumed")
        self._pool, self._round, self._offset = state["pool"], state["round"], state["offset"]
        self._num_drawn, self._given_back = state["num_drawn"], list(state["given_back"])
        self._order = self._permutation()

    def _permutation(self) -> list[str]:
        units = list(self._units[self._pool])
        place = ("order", self._round) if self._pool == 0 else ("order", self._round, self._pool)
        random.Random(derive_seed(self._seed, *place)).shuffle(units)
        return [example_id for unit in units for example_id in unit]


def ids_of(examples: Sequence[TrainingExample]) -> list[str]:
    """The ids, without making the examples where they are stored."""
    return examples.ids if isinstance(examples, TrainingExamples) else [example.example_id for example in examples]


def positions_of(examples: Sequence[TrainingExample]) -> list[tuple[str, int]]:
    """Trajectory id and step index of each; an example without a step is a trajectory of its own."""
    return examples.positions if isinstance(examples, TrainingExamples) else list(map(_position, examples))


def _within(units: Sequence[Sequence[str]], ids: set[str]) -> list[list[str]]:
    """What of each unit is in the pool; DataError for a pool without examples."""
    kept = [[example_id for example_id in unit if example_id in ids] for unit in units]
    kept = [unit for unit in kept if unit]
    if not kept and units:
        raise DataError("a pool of the curriculum holds no example")
    return kept


def _by_trajectory(ids: Sequence[str], positions: Sequence[tuple[str, int]]) -> list[list[str]]:
    """The ids of each trajectory in the order of its steps; the trajectories by their own ids."""
    units: dict[str, list[str]] = {}
    for (trajectory_id, _), example_id in sorted(zip(positions, ids, strict=True)):
        units.setdefault(trajectory_id, []).append(example_id)
    return list(units.values())


def _position(example: TrainingExample) -> tuple[str, int]:
    step = example.step
    return (example.example_id, 0) if step is None else (step.trajectory_id, step.step_index)


def _fingerprint(examples: Sequence[TrainingExample]) -> str:
    """Changes with any word of any prompt or target, not with their order."""
    digests = sorted(hashlib.sha256(repr(example).encode(errors="surrogatepass")).digest() for example in examples)
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]
