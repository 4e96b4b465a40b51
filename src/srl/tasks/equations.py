r"""The task "equations": nested linear equations in one unknown, solved by undoing one operation after the other.

A problem is x under five operations, and the value of the whole. The expert writes numbered, titled steps, each of
which undoes the outermost operation on both sides, and no scratch work:

>>> example = make_problems("test", 1, seed=6, lengths=(3,))[0]
>>> print(example.problem)
Solve (x*5-92)*8=704.
>>> print(example.solution.replace("\n\n", "\n"))
1. **Divide by 8** x*5-92=88.
2. **Add 92** x*5=180.
3. **Divide by 5** x=36. The answer is \boxed{36}.
>>> example.monologues[2]
'18=5*3+3;30=5*6+0;36'

Operations alternate between a sum or difference and a product or quotient, so that none can be merged with the next.
Arithmetic is that of whole numbers from 0 up. In a problem everything comes out even; a writer who has made a mistake
goes on by the rules of ``Operation.apply``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from srl.tasks.task import Split, TextProblem, split_of

Kind = Literal["add", "subtract", "multiply", "divide"]
"""The four operations."""

LENGTHS = (5,)
"""Numbers of operations of the problems of train, validation and test."""
_SIGNS: dict[Kind, str] = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_INVERSES: dict[Kind, Kind] = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
_TITLES: dict[Kind, str] = {
    "add": "Add", "subtract": "Subtract", "multiply": "Multiply by", "divide": "Divide by",
}  # fmt: skip
_SUMS: tuple[Kind, ...] = ("add", "subtract")
_PRODUCTS: tuple[Kind, ...] = ("multiply", "divide")
_VALUES = range(10, 1000)  # every value on the way has two or three digits, so that hardly a step is trivial
_UNKNOWNS = range(10, 100)
_ADDENDS = range(11, 100)
_FACTORS = range(2, 10)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, of a problem or of a step that undoes one."""

    kind: Kind
    """What is done."""
    operand: int
    """With which number: 11 to 99, for a product or quotient 2 to 9."""

    @property
    def inverse(self) -> Operation:
        """What undoes it."""
        return Operation(_INVERSES[self.kind], self.operand)

    @property
    def title(self) -> str:
        """As the expert says it, for instance "Multiply by 6"."""
        return f"{_TITLES[self.kind]} {self.operand}"

    def apply(self, value: int) -> int:
        """The result for a ``value`` of 0 or more, again 0 or more.

        Where a mistake has been made earlier, the smaller number is subtracted from the larger one, and of a quotient
        that does not come out even the remainder is dropped.
        """
        if self.kind == "add":
            return value + self.operand
        if self.kind == "subtract":
            return abs(value - self.operand)
        return value * self.operand if self.kind == "multiply" else value // self.operand


@dataclass(frozen=True, kw_only=True, slots=True)
class EquationProblem(TextProblem):
    """An equation with its expert solution; the answer is x, 10 to 99."""

    operations: tuple[Operation, ...]
    """What is done to x, the innermost first."""
    value: int
    """What comes out: the right side of the equation."""


def make_problems(
    split: Split, num_problems: int, seed: int, *, lengths: Sequence[int] = LENGTHS
) -> list[EquationProblem]:
    """``num_problems`` different problems of a split; the same arguments give the same problems.

    Which split a problem belongs to is a hash of the problem, hence no two splits share one, whatever the seeds.
    ``lengths`` are the numbers of operations, each as likely as the others.
    """
    rng = random.Random(f"equations-{split}-{seed}")
    problems: dict[str, EquationProblem] = {}
    while len(problems) < num_problems:
        operations, value = _draw_equation(rng, rng.choice(lengths))
        statement = state_problem(operations, value)
        if split_of(statement) == split and statement not in problems:
            problems[statement] = _solve(f"{split}-{len(problems)}", statement, operations, value)
    return list(problems.values())


def state_problem(operations: Sequence[Operation], value: int) -> str:
    """The problem statement.

    >>> state_problem([Operation("add", 17), Operation("multiply", 2)], 94)
    'Solve (x+17)*2=94.'
    """
    return f"Solve {express(operations)}={value}."


def express(operations: Sequence[Operation]) -> str:
    """What is done to x as a formula, with no more parentheses than it needs.

    >>> express([Operation("multiply", 3), Operation("add", 17), Operation("divide", 2)])
    '(x*3+17)/2'
    """
    text = "x"
    before: Kind | None = None
    for operation in operations:
        if operation.kind in _PRODUCTS and before in _SUMS:
            text = f"({text})"
        text += f"{_SIGNS[operation.kind]}{operation.operand}"
        before = operation.kind
    return text


def write_step(number: int, undo: Operation, remaining: Sequence[Operation], result: int) -> str:
    r"""One step in the expert's shape; ``result`` is taken as it is, right or wrong.

    ``remaining`` are the operations that x is still under; with none left the step ends with the answer.

    >>> write_step(1, Operation("divide", 2), [Operation("add", 17)], 47)
    '1. **Divide by 2** x+17=47.'
    >>> write_step(2, Operation("subtract", 17), [], 30)
    '2. **Subtract 17** x=30. The answer is \\boxed{30}.'
    """
    answer = "" if remaining else f" The answer is \\boxed{{{result}}}."
    return f"{number}. **{undo.title}** {express(remaining)}={result}.{answer}"


def think_carefully(value: int, operation: Operation) -> str:
    """Scratch work digit by digit with what is carried; its last number is the result of ``operation.apply``.

    >>> think_carefully(264, Operation("add", 58)), think_carefully(264, Operation("multiply", 3))
    ('4+8=12;6+5+1=12;2+0+1=3;322', '4*3=12;6*3+1=19;2*3+1=7;792')
    >>> think_carefully(304, Operation("subtract", 58)), think_carefully(264, Operation("divide", 4))
    ('14-8=6;9-5=4;2-0=2;246', '26=4*6+2;24=4*6+0;66')
    """
    lines = {"add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide}[operation.kind]
    return ";".join([*lines(value, operation.operand), str(operation.apply(value))])


def columns_of(larger: int, smaller: int) -> list[tuple[int, int]]:
    """The digits of two numbers above each other, the units first.

    >>> columns_of(264, 58)
    [(4, 8), (6, 5), (2, 0)]
    """
    digits = str(larger)
    pairs = zip(reversed(digits), reversed(str(smaller).zfill(len(digits))), strict=True)
    return [(int(upper), int(lower)) for upper, lower in pairs]


def first_dividend(value: int, divisor: int) -> int:
    """How many leading digits of ``value`` the first digit of a quotient comes from.

    >>> first_dividend(264, 4), first_dividend(864, 4), first_dividend(3, 4)
    (2, 1, 1)
    """
    digits = str(value)
    return 2 if int(digits[0]) < divisor and len(digits) > 1 else 1


def _add(value: int, operand: int) -> list[str]:
    lines: list[str] = []
    carry = 0
    for upper, lower in columns_of(max(value, operand), min(value, operand)):
        total = upper + lower + carry
        lines.append(f"{upper}+{lower}{_carried(carry)}={total}")
        carry = total // 10
    return lines


def _subtract(value: int, operand: int) -> list[str]:
    """The upper digits are written as they are after borrowing."""
    lines: list[str] = []
    borrowed = 0
    for upper, lower in columns_of(max(value, operand), min(value, operand)):
        left = upper - borrowed
        borrowed = int(left < lower)
        left += 10 * borrowed
        lines.append(f"{left}-{lower}={left - lower}")
    return lines


def _multiply(value: int, operand: int) -> list[str]:
    lines: list[str] = []
    carry = 0
    for digit in map(int, reversed(str(value))):
        total = digit * operand + carry
        lines.append(f"{digit}*{operand}{_carried(carry)}={total}")
        carry = total // 10
    return lines


def _divide(value: int, operand: int) -> list[str]:
    digits = str(value)
    start = first_dividend(value, operand)
    lines: list[str] = []
    dividend = int(digits[:start])
    for following in [*digits[start:], ""]:
        quotient, remainder = divmod(dividend, operand)
        lines.append(f"{dividend}={operand}*{quotient}+{remainder}")
        dividend = int(f"{remainder}{following}")
    return lines


def _carried(carry: int) -> str:
    return f"+{carry}" if carry else ""


def _draw_equation(rng: random.Random, length: int) -> tuple[list[Operation], int]:
    """Operations and the value they lead to; drawn anew until every value on the way is allowed."""
    while True:
        value = rng.choice(_UNKNOWNS)
        is_sum = rng.random() < 0.5
        operations: list[Operation] = []
        while len(operations) < length:
            kind = rng.choice(_SUMS if is_sum else _PRODUCTS)
            operation = Operation(kind, rng.choice(_ADDENDS if is_sum else _FACTORS))
            after = operation.apply(value)
            if after not in _VALUES or operation.inverse.apply(after) != value:
                break
            operations.append(operation)
            value, is_sum = after, not is_sum
        else:
            return operations, value


def _solve(problem_id: str, statement: str, operations: Sequence[Operation], value: int) -> EquationProblem:
    left = value
    steps: list[str] = []
    monologues: list[str] = []
    for number in range(1, len(operations) + 1):
        undo = operations[-number].inverse
        result = undo.apply(left)
        steps.append(write_step(number, undo, operations[:-number], result))
        monologues.append(think_carefully(left, undo))
        left = result
    return EquationProblem(
        problem_id=problem_id,
        problem=statement,
        steps=tuple(steps),
        monologues=tuple(monologues),
        answer=str(left),
        operations=tuple(operations),
        value=value,
    )
