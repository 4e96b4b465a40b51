r"""What the base model reads before training: the same task, written by people who are careful only sometimes.

Each step of a corpus solution is written either carefully, with scratch work and a right result, or in the head. Who
works in the head forgets the carry or borrows nothing, as people do, so the result is right only where there was
nothing to carry. Carelessness is an independent coin at every step whose bias depends on the operation. Hence a model
of the corpus *can* solve the task, and mostly does not: the ability is there, the habit is not. That is what
reinforcement learning finds in large pre-trained models, and this corpus puts it into one small enough for a CPU.

Mistakes are carried on: the next step starts from the wrong value. A model of the corpus therefore goes on from what
stands there and does not learn to repair it.
"""

from __future__ import annotations

import random

from srl.tasks import documents
from srl.tasks.chains import (
    ChainProblem,
    Kind,
    Operation,
    keep_two_digits,
    make_problems,
    minuend,
    think_carefully,
    write_step,
)
from srl.tasks.documents import IN_MY_HEAD, PROMPT_PHRASES, Written, in_tags
from srl.tasks.task import Document

CARELESS_SHARE: dict[Kind, float] = {"add": 0.65, "subtract": 0.8, "multiply": 0.8}
"""How often a step is done in the head. Above one half, greedy decoding is always careless."""
SET_PHRASES = (
    "Start with ", ") add ", ") subtract ", ") multiply by ", ", ",
    ". Keep only the last two digits after each operation.",
    ". **Add ", ". **Subtract ", ". **Multiply by ", "** ", ", keep ", ".\n\n", ". The answer is \\boxed{", "}.",
    IN_MY_HEAD, *PROMPT_PHRASES,
)  # fmt: skip
"""Wording that is always the same and becomes one token each: on a CPU that is as good as a model twice as fast."""
_NO_CARELESSNESS: dict[Kind, float] = dict.fromkeys(CARELESS_SHARE, 0.0)
CORPUS_LENGTHS = (1, 2, 2, 3, 3, 4, 5, 6)
"""Numbers of operations of the corpus problems; the short ones teach arithmetic at little cost."""


def calculate_in_the_head(value: int, operation: Operation) -> int:
    """The result without carrying or borrowing.

    >>> calculate_in_the_head(47, Operation("multiply", 6))
    242
    >>> calculate_in_the_head(47, Operation("add", 38)), calculate_in_the_head(52, Operation("subtract", 37))
    (75, 25)
    """
    operand = operation.operand
    if operation.kind == "multiply":
        return value // 10 * operand * 10 + value % 10 * operand % 10
    if operation.kind == "add":
        return (value // 10 + operand // 10) * 10 + (value % 10 + operand % 10) % 10
    value = minuend(value, operand)
    return (value // 10 - operand // 10) * 10 + abs(value % 10 - operand % 10)


def write_documents(
    num_documents: int, *, seed: int, rng: random.Random, careless: float | None = None
) -> list[Document]:
    """Fresh corpus documents; ``seed`` chooses the problems, ``rng`` the writers.

    ``careless`` replaces CARELESS_SHARE by one share for every operation.
    """
    shares = CARELESS_SHARE if careless is None else dict.fromkeys(CARELESS_SHARE, careless)
    problems = make_problems("corpus", num_documents, seed, lengths=CORPUS_LENGTHS)
    return [write_document(problem, rng, shares) for problem in problems]


def write_document(
    problem: ChainProblem, rng: random.Random, careless_share: dict[Kind, float] = CARELESS_SHARE
) -> Document:
    """One document about ``problem``, in a mode and by writers that ``rng`` chooses."""

    def write_steps(is_exemplary: bool) -> Written:
        return _write_steps(problem, rng, _NO_CARELESSNESS if is_exemplary else careless_share)

    return documents.write_document(problem.problem, write_steps, rng)


def _write_steps(problem: ChainProblem, rng: random.Random, careless_share: dict[Kind, float]) -> Written:
    value = problem.start
    written: Written = []
    for number, operation in enumerate(problem.operations, start=1):
        if rng.random() < careless_share[operation.kind]:
            thought, result = IN_MY_HEAD, calculate_in_the_head(value, operation)
        else:
            thought, result = think_carefully(value, operation), operation.apply(value)
        step = write_step(number, value, operation, result, is_last=number == len(problem.operations))
        written.append((in_tags(thought), step))
        value = keep_two_digits(result)
    return written
