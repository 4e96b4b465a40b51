r"""What the base of the equations reads before training: solutions by people who are careful only sometimes.

As in the corpus of the chains (``srl.tasks.chains_corpus``, which says why), each step is written either carefully,
with scratch work and a right result, or in the head. Who works in the head goes digit by digit and forgets what has
to be carried: the carry of a sum or product, what a digit borrows from the next one, the remainder of a division. The
result is right exactly where there is nothing to carry. Mistakes are carried on.
"""

from __future__ import annotations

import random

from srl.tasks import documents
from srl.tasks.documents import IN_MY_HEAD, PROMPT_PHRASES, Written, in_tags
from srl.tasks.equations import (
    EquationProblem,
    Kind,
    Operation,
    columns_of,
    first_dividend,
    make_problems,
    think_carefully,
    write_step,
)
from srl.tasks.task import Document

CARELESS_SHARE: dict[Kind, float] = {"add": 0.35, "subtract": 0.7, "multiply": 0.7, "divide": 0.75}
"""How often a step of each operation is done in the head. Above one half, greedy decoding is always careless."""
SET_PHRASES = (
    "Solve ", ". **Add ", ". **Subtract ", ". **Multiply by ", ". **Divide by ", "** ", "(", ")", ".\n\n",
    ". The answer is \\boxed{", "}.", IN_MY_HEAD, *PROMPT_PHRASES,
)  # fmt: skip
"""Wording that becomes one token each. Parentheses are among it so that two of them never become one token."""
CORPUS_LENGTHS = (1, 1, 2, 2, 3, 3, 4, 5, 5)
"""Numbers of operations of the corpus problems; the short ones teach arithmetic at little cost."""
_NO_CARELESSNESS: dict[Kind, float] = dict.fromkeys(CARELESS_SHARE, 0.0)


def calculate_in_the_head(value: int, operation: Operation) -> int:
    """The result without carrying, borrowing, or taking a remainder to the next digit.

    >>> calculate_in_the_head(264, Operation("add", 58)), calculate_in_the_head(264, Operation("subtract", 58))
    (212, 214)
    >>> calculate_in_the_head(264, Operation("multiply", 3)), calculate_in_the_head(264, Operation("divide", 4))
    (682, 61)
    """
    operand = operation.operand
    if operation.kind == "divide":
        digits = str(value)
        start = first_dividend(value, operand)
        return int("".join(str(int(part) // operand) for part in (digits[:start], *digits[start:])))
    if operation.kind == "multiply":
        columns = [int(digit) * operand for digit in reversed(str(value))]
    else:
        pairs = columns_of(max(value, operand), min(value, operand))
        columns = [upper + lower if operation.kind == "add" else abs(upper - lower) for upper, lower in pairs]
    kept = [column % 10 for column in columns[:-1]]
    return sum(column * 10**place for place, column in enumerate([*kept, columns[-1]]))


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
    problem: EquationProblem, rng: random.Random, careless_share: dict[Kind, float] = CARELESS_SHARE
) -> Document:
    """One document about ``problem``, in a mode and by writers that ``rng`` chooses."""

    def write_steps(is_exemplary: bool) -> Written:
        return _write_steps(problem, rng, _NO_CARELESSNESS if is_exemplary else careless_share)

    return documents.write_document(problem.problem, write_steps, rng)


def _write_steps(problem: EquationProblem, rng: random.Random, careless_share: dict[Kind, float]) -> Written:
    value = problem.value
    written: Written = []
    for number in range(1, len(problem.operations) + 1):
        undo = problem.operations[-number].inverse
        if rng.random() < careless_share[undo.kind]:
            thought, result = IN_MY_HEAD, calculate_in_the_head(value, undo)
        else:
            thought, result = think_carefully(value, undo), undo.apply(value)
        written.append((in_tags(thought), write_step(number, undo, problem.operations[:-number], result)))
        value = result
    return written
