"""A source of trajectories or step examples -> its examples on disk, one at a time when they are drawn.

A million examples of an agent's logs do not fit into memory, and training draws them in a random order. Reading a
source writes its examples, compressed, to a temporary file that disappears with the process; what stays in memory is
a few bytes per example.

The decision a reader would question: the temporary file is written anew at every start. A cache would have to notice
every change of the source and of the code that reads it; writing takes seconds, a stale cache costs a run.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import overload

from srl.context import keep_last_turns
from srl.errors import DataError
from srl.examples import ExampleSettings, from_json, make_step_examples, problem_key, select_examples, to_json
from srl.trajectories.reader import DEFAULT_SETTINGS, describe_drop, parse_rows, root_of
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.repetition import chain_of, drop_repetitions
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, StepExample, Trajectory

Item = Trajectory | StepExample | DroppedRow
_SURROGATES = "surrogateescape"  # a path that is no valid UTF-8 can stand in a record
"""What a row of a source can turn out to be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTrajectory:
    """What a store remembers of a trajectory."""

    trajectory_id: str
    """Its id."""
    problem_digest: bytes
    """Equal for trajectories with the same problem (letters and digits compared)."""
    has_answer: bool
    """Whether its final answer is known."""


class ExampleStore(Sequence[StepExample]):
    """Step examples in a temporary file, in the order in which they were added."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="srl-examples-")  # noqa: SIM115 - lives as long as the store
        self._ends = array("Q", [0])
        self._owners = array("L")
        self._step_indices = array("L")
        self._digests = bytearray()
        self._numbers: dict[str, int] = {}
        self.trajectories: list[StoredTrajectory] = []
        """The trajectories of the examples, in order of appearance."""

    def append(self, example: StepExample) -> None:
        """Add an example at the end."""
        number = self._numbers.setdefault(example.trajectory_id, len(self.trajectories))
        if number == len(self.trajectories):
            digest = hashlib.sha256(problem_key(example.problem).encode()).digest()[:16]
            self.trajectories.append(
                StoredTrajectory(
                    trajectory_id=example.trajectory_id,
                    problem_digest=digest,
                    has_answer=example.answer is not None,
                )
            )
        value = to_json(example)
        place = value.pop("source")  # apart, because the digest is of the words and not of where they stand
        words, place = (json.dumps(part, ensure_ascii=False).encode(errors=_SURROGATES) for part in (value, place))
        packed = zlib.compress(words + b"\n" + place, 1)
        try:
            self._file.seek(self._ends[-1])
            self._file.write(packed)
            self._file.flush()  # a disk that is full says so here and not when something is read
        except OSError as error:
            raise DataError(
                f"cannot write examples to the temporary folder {tempfile.gettempdir()}: {error.strerror}; "
                "set TMPDIR to a folder with more room"
            ) from error
        self._ends.append(self._ends[-1] + len(packed))
        self._owners.append(number)
        self._step_indices.append(example.step_index)
        self._digests += hashlib.sha256(words).digest()[:16]

    def __len__(self) -> int:
        return len(self._owners)

    def has_trajectory(self, trajectory_id: str) -> bool:
        """Whether an example of this trajectory was added."""
        return trajectory_id in self._numbers

    @overload
    def __getitem__(self, index: int) -> StepExample: ...
    @overload
    def __getitem__(self, index: slice) -> list[StepExample]: ...
    def __getitem__(self, index: int | slice) -> StepExample | list[StepExample]:
        """One example, or a list of some."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        start, end = self._ends[row], self._ends[row + 1]
        self._file.seek(start)
        words, _, place = zlib.decompress(self._file.read(end - start)).decode(errors=_SURROGATES).rpartition("\n")
        return from_json(json.loads(words), found_in=Source(**json.loads(place)))

    def owner(self, row: int) -> StoredTrajectory:
        """The trajectory of example ``row``."""
        return self.trajectories[self._owners[row]]

    def step_index(self, row: int) -> int:
        """The step that example ``row`` asks for, without reading it."""
        return self._step_indices[row]

    def digest(self, row: int) -> bytes:
        """16 bytes that change with any word of example ``row``, not with where it stands."""
        return bytes(self._digests[16 * row : 16 * row + 16])


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedExamples:
    """What reading a source for training gives."""

    store: ExampleStore
    """The examples to train on."""
    dropped: Counter[str]
    """Rows that could not be used, by reason."""
    left_out: Counter[str]
    """Examples that a setting leaves out, by setting; a choice and not a loss."""


def load_examples(source: str, settings: ExampleSettings) -> LoadedExamples:
    """The step examples of a file, folder or Hub dataset of trajectories or of step examples, without holding them all.

    Which of the two it holds is read from its first good row: step examples have ``step_index`` and
    ``target_action``. Raises DataError if no example remains, if a file of agents' examples holds fewer rounds of
    context than ``settings.context_turns`` asks for, or if ``settings.max_per_trajectory`` is to choose among examples
    of a trajectory that do not stand together.
    """
    loaded = LoadedExamples(store=ExampleStore(), dropped=Counter(), left_out=Counter())
    first: DroppedRow | None = None

    def without_drops() -> Iterator[StepExample]:
        nonlocal first
        for item in _examples_of(read_items(source), settings.context_turns):
            if isinstance(item, StepExample):
                yield item
            else:
                first = first or item
                loaded.dropped[item.reason] += 1

    for trajectory_id, group in groupby(without_drops(), key=lambda example: example.trajectory_id):
        if settings.max_per_trajectory and loaded.store.has_trajectory(trajectory_id):
            raise DataError(
                f"{source}: the examples of {trajectory_id!r} do not stand together, so that no fixed number of them "
                "can be chosen; sort the file by trajectory_id, or set data.max_examples_per_trajectory = 0"
            )
        kept, left_out = select_examples([_with_turns(example, settings, source) for example in group], settings)
        loaded.left_out.update(left_out)
        for example in kept:
            loaded.store.append(example)
    if not loaded.store:
        why = f"; the first drop: {describe_drop(first)}" if first else ""
        counts = f"{loaded.dropped.total()} rows were dropped, {loaded.left_out.total()} examples left out by settings"
        raise DataError(f"{source} holds no step example to train on; {counts}{why}")
    return loaded


def hold_out(trajectories: Sequence[StoredTrajectory], num_validation: int, seed: int) -> set[str]:
    """The ids of ``num_validation`` whole trajectories to hold out for validation.

    Depends on the seed and the problem texts only, not on ids or the order of the file. Trajectories with the same
    problem stay together; where a group of them does not fit, fewer are held out. Raises DataError if nothing would
    be left to train on, or nothing could be held out.
    """
    groups: dict[bytes, list[str]] = {}
    for trajectory in trajectories:
        groups.setdefault(trajectory.problem_digest, []).append(trajectory.trajectory_id)
    if num_validation < 0 or num_validation >= len(trajectories):
        raise DataError(
            f"cannot hold {num_validation} of {len(trajectories)} trajectories out for validation: "
            "at least one must be left to train on; lower num_validation_trajectories or name a validation file"
        )
    # Paper: 4.2 holds out questions; here every trajectory with the same question goes with it.
    held_out: set[str] = set()
    for digest in sorted(groups, key=lambda digest: hashlib.sha256(f"{seed}:".encode() + digest).digest()):
        if len(held_out) + len(groups[digest]) <= num_validation:
            held_out.update(groups[digest])
    if num_validation and not held_out:
        raise DataError("nothing can be held out for validation: too many trajectories share the same problem")
    return held_out


def shared_problems(first: ExampleStore, second: ExampleStore) -> list[str]:
    """The ids of those trajectories of ``second`` whose problem ``first`` has, too."""
    known = {trajectory.problem_digest for trajectory in first.trajectories}
    return [trajectory.trajectory_id for trajectory in second.trajectories if trajectory.problem_digest in known]


def _with_turns(example: StepExample, settings: ExampleSettings, source: str) -> StepExample:
    """The example with ``context_turns`` rounds, the last ones."""
    if example.kind != "agent":
        return example
    wanted = min(settings.context_turns, example.step_index)
    if len(example.context) < wanted:
        raise DataError(
            f"{source}: step {example.step_index} of {example.trajectory_id!r} holds {len(example.context)} rounds of "
            f"context, and context_turns = {settings.context_turns} asks for {wanted}; lower it, or decompose the logs "
            f"again with --context-turns {settings.context_turns}"
        )
    return keep_last_turns(example, settings.context_turns)


def _examples_of(items: Iterable[Item], context_turns: int) -> Iterator[StepExample | DroppedRow]:
    for item in items:
        if isinstance(item, Trajectory):
            yield from make_step_examples(item, context_turns=context_turns)
        else:
            yield item


def read_items(source: str, settings: ReadSettings = DEFAULT_SETTINGS) -> Iterator[Item]:
    """The trajectories or step examples of a file, folder or Hub dataset, and what was dropped, in order.

    Which of the two it holds is read from its first good row. Ids of trajectories are those of
    ``read_trajectories``. Raises DataError if there is nothing to read.
    """
    rows = read_rows(source)
    for row in rows:
        if isinstance(row, DroppedRow):
            yield row
        elif is_step_example(row.value):
            yield from _parse_examples(chain([row], rows))
        else:
            parsed = parse_rows(chain([row], rows), settings, root=root_of(source))
            yield from drop_repetitions(parsed, chain_of)


def is_step_example(value: Mapping[str, object]) -> bool:
    """Whether a row is a step example, as ``srl decompose`` writes them."""
    return "target_action" in value and "step_index" in value


def _parse_examples(rows: Iterable[Row | DroppedRow]) -> Iterator[StepExample | DroppedRow]:
    seen: set[bytes] = set()
    wholes: dict[str, int] = {}
    for row in rows:
        if isinstance(row, DroppedRow):
            yield row
            continue
        try:
            example = from_json(row.value, found_in=row.source)
            whole = hash((example.problem, example.num_steps, example.kind))
            if wholes.setdefault(example.trajectory_id, whole) != whole:
                detail = f"{example.trajectory_id!r} has another problem or number of steps in an earlier row"
                raise RowError(DropReason.INCONSISTENT, detail)
            key = f"{example.step_index}#{example.trajectory_id}".encode()
            digest = hashlib.blake2b(key, digest_size=16).digest()
            if digest in seen:
                detail = f"step {example.step_index} of {example.trajectory_id!r} stands in an earlier row"
                raise RowError(DropReason.DUPLICATE_ID, detail)
            seen.add(digest)
        except RowError as error:
            yield row.dropped(error.reason, error.detail)
        else:
            yield example
