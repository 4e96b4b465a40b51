"""What an embedded text task is made of: problems with expert solutions, a corpus, and a base trained on it.

A task is hard for its base and yet within its reach: the base *can* write each step and mostly does not. The modules
of a task say how that comes about; here is only what all of them share. Nothing here needs torch.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.prompts import PromptTexts
from srl.types import ChatPrompt

Split = Literal["train", "validation", "test", "corpus"]
"""Which problems; "corpus" are those that the base model is pre-trained on."""

_SPLIT_BUCKETS: dict[Split, range] = {
    "test": range(0, 10),
    "validation": range(10, 20),
    "train": range(20, 30),
    "corpus": range(30, 100),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextProblem:
    """A problem with its expert solution."""

    problem_id: str
    """Unique within the list it was made in, for instance "test-3"."""
    problem: str
    """The problem statement."""
    steps: tuple[str, ...]
    """The expert's numbered and titled steps; the last one ends with the boxed answer."""
    monologues: tuple[str, ...]
    """What a careful writer would have thought before each step; SRL never sees it."""
    answer: str
    """The final answer, as it stands in the box."""

    @property
    def solution(self) -> str:
        """The expert's whole text."""
        return "\n\n".join(self.steps)

    @property
    def trace(self) -> str:
        """The text of an expert who thinks aloud: a thought in its tags before every step."""
        pairs = zip(self.monologues, self.steps, strict=True)
        return "\n\n".join(f"{THINK_OPEN}{thought}{THINK_CLOSE}{step}" for thought, step in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One piece of a corpus: a prompt and a completion in segments."""

    prompt: ChatPrompt
    """As the policy will be asked."""
    segments: tuple[tuple[str, bool], ...]
    """Pieces of the completion and whether the model learns to write them; the others are only read."""


class WriteDocuments(Protocol):
    """Fresh corpus documents."""

    def __call__(
        self, num_documents: int, *, seed: int, rng: random.Random, careless: float | None = None
    ) -> list[Document]:
        """``seed`` chooses the problems, ``rng`` the writers.

        ``careless`` replaces the share of steps that are written in the head, 0 to 1; None keeps the task's own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TextTask:
    """One embedded task; ``srl.tasks.TASKS`` has all of them."""

    name: str
    """Its key in TASKS and the name of its base's folder."""
    texts: PromptTexts
    """Wording of the prompts that its base knows."""
    base_folder: Path
    """The shipped checkpoint."""
    max_step_tokens: int
    """Enough for any careful step with its thought, in the base's tokens."""
    max_solution_tokens: int
    """Enough for any careful whole solution with its thoughts."""
    max_steps: int
    """Enough steps for any problem when the policy's own steps are fed back."""
    make_problems: Callable[[Split, int, int], Sequence[TextProblem]]
    """(split, num_problems, seed) to different problems; the same arguments give the same problems."""
    write_documents: WriteDocuments
    """What the base is pre-trained on."""
    set_phrases: tuple[str, ...]
    """Wording that becomes one token each: on a CPU that is as good as a model twice as fast."""
    base_step_accuracy: tuple[float, float]
    """Between these lies the shipped base's greedy accuracy on single steps, given the expert's context."""
    base_solve_rate: tuple[float, float]
    """Between these lies its greedy rate of whole solutions that end with the right answer."""


def split_of(statement: str) -> Split:
    """The split that a problem statement belongs to: a hash, so that no two splits share a problem."""
    bucket = zlib.crc32(statement.encode()) % 100
    return next(split for split, buckets in _SPLIT_BUCKETS.items() if bucket in buckets)


def write_trajectories(path: str | Path, problems: Iterable[TextProblem], *, with_thoughts: bool = False) -> None:
    """Write the expert's trajectories as JSON Lines with the keys id, problem, solution and answer.

    ``with_thoughts`` makes ``solution`` the text of the thinking expert, thoughts and steps interleaved.
    """
    rows = (
        {
            "id": item.problem_id,
            "problem": item.problem,
            "solution": item.trace if with_thoughts else item.solution,
            "answer": item.answer,
        }
        for item in problems
    )
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
