r"""The task "chains", that of ``srl quickstart``: chains of two-digit arithmetic, written like real expert solutions.

A problem is a start value and six operations; after each of them only the last two digits are kept, so that
one slip spoils the final answer. The expert writes numbered, titled steps and no scratch work:

>>> example = make_problems("test", 1, seed=1, lengths=(3,))[0]
>>> print(example.problem)
Start with 82. 1) subtract 21, 2) multiply by 4, 3) add 66. Keep only the last two digits after each operation.
>>> print(example.solution.replace("\n\n", "\n"))
1. **Subtract 21** 82-21=61.
2. **Multiply by 4** 61*4=244, keep 44.
3. **Add 66** 44+66=110, keep 10. The answer is \boxed{10}.
>>> example.monologues[1]
'60*4=240;1*4=4;240+4=244'
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from srl.tasks.task import Split, TextProblem, split_of

Kind = Literal["add", "subtract", "multiply"]
"""The three operations."""

_SIGNS: dict[Kind, str] = {"add": "+", "subtract": "-", "multiply": "*"}
_WORDS: dict[Kind, str] = {"add": "add", "subtract": "subtract", "multiply": "multiply by"}
_MODULUS = 100
_SMALLEST_VALUE = 10  # every value of a problem has two digits, so that no step is trivial


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a chain."""

    kind: Kind
    """What is done."""
    operand: int
    """With which number: 11 to 99, for a multiplication 2 to 9."""

    @property
    def words(self) -> str:
        """As the problem says it, for instance "multiply by 6"."""
        return f"{_WORDS[self.kind]} {self.operand}"

    def apply(self, value: int) -> int:
        """The exact result, before the last two digits are kept."""
        if self.kind == "multiply":
            return value * self.operand
        return value + self.operand if self.kind == "add" else minuend(value, self.operand) - self.operand


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainProblem(TextProblem):
    """A problem with its expert solution; the answer is the final value, 10 to 99."""

    start: int
    """The start value."""
    operations: tuple[Operation, ...]
    """What is done to it."""


def make_problems(split: Split, num_problems: int, seed: int, *, lengths: Sequence[int] = (6,)) -> list[ChainProblem]:
    """``num_problems`` different problems of a split; the same arguments give the same problems.

    Which split a problem belongs to is a hash of the problem, hence no two splits share one, whatever the seeds.
    ``lengths`` are the numbers of operations, each as likely as the others.
    """
    rng = random.Random(f"{split}-{seed}")
    problems: dict[str, ChainProblem] = {}
    while len(problems) < num_problems:
        start, operations = _draw_chain(rng, rng.choice(lengths))
        statement = state_problem(start, operations)
        if split_of(statement) == split and statement not in problems:
            problems[statement] = _solve(f"{split}-{len(problems)}", statement, start, operations)
    return list(problems.values())


def state_problem(start: int, operations: Sequence[Operation]) -> str:
    """The problem statement.

    >>> state_problem(47, [Operation("multiply", 6), Operation("add", 38)])
    'Start with 47. 1) multiply by 6, 2) add 38. Keep only the last two digits after each operation.'
    """
    listed = ", ".join(f"{number}) {operation.words}" for number, operation in enumerate(operations, start=1))
    return f"Start with {start}. {listed}. Keep only the last two digits after each operation."


def write_step(number: int, value: int, operation: Operation, result: int, *, is_last: bool = False) -> str:
    r"""One step in the expert's shape; ``result`` is taken as it is, right or wrong.

    >>> write_step(1, 47, Operation("multiply", 6), 282)
    '1. **Multiply by 6** 47*6=282, keep 82.'
    >>> write_step(2, 12, Operation("add", 38), 50, is_last=True)
    '2. **Add 38** 12+38=50. The answer is \\boxed{50}.'
    """
    left = minuend(value, operation.operand) if operation.kind == "subtract" else value
    kept = keep_two_digits(result)
    keeping = "" if kept == result else f", keep {kept}"
    answer = f" The answer is \\boxed{{{kept}}}." if is_last else ""
    title = operation.words.capitalize()
    return f"{number}. **{title}** {left}{_SIGNS[operation.kind]}{operation.operand}={result}{keeping}.{answer}"


def think_carefully(value: int, operation: Operation) -> str:
    """Scratch work, tens and units apart; its last number is the exact result.

    >>> think_carefully(47, Operation("multiply", 6))
    '40*6=240;7*6=42;240+42=282'
    >>> think_carefully(52, Operation("subtract", 37))
    '52-30=22;22-7=15'
    """
    operand = operation.operand
    if operation.kind == "multiply":
        tens, units = value // 10 * 10, value % 10
        parts = [f"{part}*{operand}={part * operand}" for part in (tens, units) if part]
        if len(parts) == 2:
            parts.append(f"{tens * operand}+{units * operand}={value * operand}")
        return ";".join(parts) or f"0*{operand}=0"
    sign, total = _SIGNS[operation.kind], value if operation.kind == "add" else minuend(value, operand)
    lines: list[str] = []
    for part in (operand // 10 * 10, operand % 10):
        if part:
            after = total + part if operation.kind == "add" else total - part
            lines.append(f"{total}{sign}{part}={after}")
            total = after
    return ";".join(lines)


def keep_two_digits(value: int) -> int:
    """The last two digits of a number."""
    return value % _MODULUS


def minuend(value: int, operand: int) -> int:
    """What ``operand`` is subtracted from: 100 is added where the result would be negative.

    The last two digits stay the same by it. No problem needs it; a writer who has made a mistake may.
    """
    return value if value >= operand else value + _MODULUS


def _draw_chain(rng: random.Random, length: int) -> tuple[int, list[Operation]]:
    start = value = rng.randrange(_SMALLEST_VALUE, _MODULUS)
    operations: list[Operation] = []
    while len(operations) < length:
        kind = rng.choice(("add", "subtract", "multiply"))
        operation = Operation(kind, rng.randrange(2, 10) if kind == "multiply" else rng.randrange(11, 100))
        after = keep_two_digits(operation.apply(value))
        goes_below_zero = kind == "subtract" and operation.operand > value
        if after >= _SMALLEST_VALUE and not goes_below_zero:
            operations.append(operation)
            value = after
    return start, operations


def _solve(problem_id: str, statement: str, start: int, operations: Sequence[Operation]) -> ChainProblem:
    value = start
    steps: list[str] = []
    monologues: list[str] = []
    for number, operation in enumerate(operations, start=1):
        result = operation.apply(value)
        steps.append(write_step(number, value, operation, result, is_last=number == len(operations)))
        monologues.append(think_carefully(value, operation))
        value = keep_two_digits(result)
    return ChainProblem(
        problem_id=problem_id,
        problem=statement,
        steps=tuple(steps),
        monologues=tuple(monologues),
        answer=str(value),
        start=start,
        operations=tuple(operations),
    )
