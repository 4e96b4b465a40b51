r"""The task "shell": small chores in a folder, done by commands whose output has to be read.

A problem is what stands in the folder at first, an instruction, and what must stand there in the end. The numbers are
in the files, not in the instruction, so that nothing can be done without looking; a slip of arithmetic leaves the
wrong folder behind. The expert (scripts.py) runs three to five commands and then ``exit``:

>>> example = make_problems("test", 1, seed=0)[0]
>>> print(example.problem)
Write the sum of a.txt and b.txt to c.txt and their difference to d.txt.
>>> example.files
{'a.txt': '91\n', 'b.txt': '39\n'}
>>> example.expected
{'a.txt': '91\n', 'b.txt': '39\n', 'c.txt': '130\n', 'd.txt': '52\n'}

Names that end with a slash are folders. The expected folder is worked out here from the numbers, and by the expert
from what its commands print: a test holds the one against the other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from srl.tasks.chains import Operation
from srl.tasks.chains_corpus import calculate_in_the_head
from srl.tasks.task import Split, split_of

Kind = Literal["totals", "larger", "append", "lines", "remove", "follow"]
"""What has to be done."""

LETTERS = "abcde"
"""Names of the files of "remove", without what comes after the dot."""
WORDS = ("ant", "bee", "cow", "dog")
"""What files hold that hold no number."""
NUM_APPENDED = 3
"""How often a number is appended."""
NUM_FOLLOWED = 3
"""How many files lead to the word."""
_EASY_SHARE = 0.2  # of the calculations and comparisons come out right also in the head
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShellProblem:
    """One chore."""

    problem_id: str
    """Unique within the list it was made in, for instance "test-3"."""
    kind: Kind
    """What has to be done."""
    problem: str
    """The instruction."""
    operand: int
    """The number that the instruction names; 0 where it names none."""
    files: Mapping[str, str]
    """The folder at first: contents by name; a name that ends with a slash is an empty folder."""
    expected: Mapping[str, str]
    """The folder in the end."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A problem before it has an id."""

    problem: str
    operand: int
    files: dict[str, str]
    expected: dict[str, str]


def make_problems(split: Split, num_problems: int, seed: int) -> list[ShellProblem]:
    """``num_problems`` different problems of a split; the same arguments give the same problems.

    Which split a problem belongs to is a hash of instruction and folder, hence no two splits share one. Each kind is
    as likely as the others.
    """
    rng = random.Random(f"shell-{split}-{seed}")
    problems: dict[str, ShellProblem] = {}
    while len(problems) < num_problems:
        kind = rng.choice(get_args(Kind))
        drawn = _DRAW[kind](rng)
        key = json.dumps([drawn.problem, drawn.files])
        if split_of(key) == split and key not in problems:
            problems[key] = ShellProblem(
                problem_id=f"{split}-{len(problems)}",
                kind=kind,
                problem=drawn.problem,
                operand=drawn.operand,
                files=dict(sorted(drawn.files.items())),
                expected=drawn.expected,
            )
    return list(problems.values())


def is_first_larger_by_last_digit(first: int, second: int) -> bool:
    """What a careless glance says of two numbers: it sees the last digits only.

    >>> is_first_larger_by_last_digit(31, 28)
    False
    """
    return first % 10 >= second % 10


def _draw_totals(rng: random.Random) -> _Drawn:
    def draw() -> tuple[int, int]:
        low, high = sorted(rng.sample(range(11, 100), 2))
        return high, low

    is_easy = [rng.random() < _EASY_SHARE for _ in range(2)]
    a, b = _draw_until(
        draw,
        lambda pair: (
            (_is_easy(pair[0], "add", pair[1]) == is_easy[0]) and (_is_easy(pair[0], "subtract", pair[1]) == is_easy[1])
        ),
    )
    files = {"a.txt": f"{a}\n", "b.txt": f"{b}\n"}
    problem = "Write the sum of a.txt and b.txt to c.txt and their difference to d.txt."
    return _Drawn(problem, 0, files, files | {"c.txt": f"{a + b}\n", "d.txt": f"{a - b}\n"})


def _draw_larger(rng: random.Random) -> _Drawn:
    factor = rng.randrange(2, 10)
    a, b = _draw_pair(rng, range(11, 100))
    if rng.random() >= _EASY_SHARE:
        while _is_easy(max(a, b), "multiply", factor):
            a, b = _draw_pair(rng, range(11, 100))
    files = {"a.txt": f"{a}\n", "b.txt": f"{b}\n", "big/": ""}
    problem = f"Move the larger of a.txt and b.txt to big/ and write its number times {factor} to c.txt."
    return _Drawn(problem, factor, files, _move_to_big(files, a > b) | {"c.txt": f"{max(a, b) * factor}\n"})


def _draw_append(rng: random.Random) -> _Drawn:
    start, addend = _draw_until(
        lambda: (rng.randrange(11, 100), rng.randrange(11, 100)),
        lambda pair: (
            pair[0] + NUM_APPENDED * pair[1] < 200
            and sum(_is_easy(pair[0] + k * pair[1], "add", pair[1]) for k in range(NUM_APPENDED)) <= 1
        ),
    )
    before = "".join(f"{rng.randrange(11, 100)}\n" for _ in range(rng.randrange(1, 4))) + f"{start}\n"
    problem = f"Append to a.txt its last number plus {addend}, and again so, three times in all."
    appended = "".join(f"{start + k * addend}\n" for k in range(1, NUM_APPENDED + 1))
    return _Drawn(problem, addend, {"a.txt": before}, {"a.txt": before + appended})


def _draw_lines(rng: random.Random) -> _Drawn:
    is_easy = rng.random() < _EASY_SHARE
    a, b = _draw_until(
        lambda: _draw_pair(rng, range(11, 60)), lambda pair: _is_easy(pair[0], "add", pair[1]) == is_easy
    )
    files = {name: f"{rng.choice(WORDS)}\n" * count for name, count in (("a.txt", a), ("b.txt", b))} | {"big/": ""}
    problem = "Write how many lines a.txt and b.txt have together to c.txt and move the longer one to big/."
    return _Drawn(problem, 0, files, _move_to_big(files, a > b) | {"c.txt": f"{a + b}\n"})


def _draw_remove(rng: random.Random) -> _Drawn:
    num_logs = 1 if rng.random() < _EASY_SHARE else rng.randrange(2, 4)
    kept, *logs = rng.sample(LETTERS, 1 + num_logs)
    is_easy = rng.random() < _EASY_SHARE
    number, addend = _draw_until(
        lambda: (rng.randrange(11, 100), rng.randrange(11, 100)),
        lambda pair: _is_easy(pair[0], "add", pair[1]) == is_easy,
    )
    files = {f"{kept}.txt": f"{number}\n"} | {f"{log}.log": f"{rng.randrange(11, 100)}\n" for log in logs}
    problem = f"Delete the .log files and rename the .txt file to its number plus {addend}."
    return _Drawn(problem, addend, files, {f"{number + addend}.txt": f"{number}\n"})


def _draw_follow(rng: random.Random) -> _Drawn:
    numbers = _draw_until(
        lambda: [rng.randrange(11, 30), *(rng.randrange(11, 70) for _ in range(NUM_FOLLOWED))],
        lambda drawn: (
            sum(drawn) < 150 and sum(_is_easy(sum(drawn[:k]), "add", drawn[k]) for k in range(1, NUM_FOLLOWED + 1)) <= 1
        ),
    )
    word = rng.choice(WORDS)
    files = {f"{sum(numbers[:k])}.txt": f"{numbers[k]}\n" for k in range(1, NUM_FOLLOWED + 1)}
    files[f"{sum(numbers)}.txt"] = f"{word}\n"
    problem = (
        f"Begin with {numbers[0]}.txt. The number in a file plus that in its name is the name of the next. "
        "Write the word in the last to a.txt."
    )
    return _Drawn(problem, numbers[0], files, files | {"a.txt": f"{word}\n"})


def _move_to_big(files: Mapping[str, str], is_first: bool) -> dict[str, str]:
    """The folder after a.txt, or else b.txt, was moved to big/."""
    moved = "a.txt" if is_first else "b.txt"
    return {name: content for name, content in files.items() if name != moved} | {f"big/{moved}": files[moved]}


def _is_easy(value: int, kind: Literal["add", "subtract", "multiply"], operand: int) -> bool:
    operation = Operation(kind, operand)
    return calculate_in_the_head(value, operation) == operation.apply(value)


def _draw_pair(rng: random.Random, numbers: range) -> tuple[int, int]:
    """Two different numbers, the larger of which a careless glance mostly gets wrong."""
    wanted = rng.random() < _EASY_SHARE

    def draw() -> tuple[int, int]:
        a, b = rng.sample(numbers, 2)
        return a, b

    return _draw_until(draw, lambda pair: (is_first_larger_by_last_digit(*pair) == (pair[0] > pair[1])) == wanted)


def _draw_until(draw: Callable[[], _Value], is_wanted: Callable[[_Value], bool]) -> _Value:
    while not is_wanted(drawn := draw()):
        pass
    return drawn


_DRAW: dict[Kind, Callable[[random.Random], _Drawn]] = {
    "totals": _draw_totals,
    "larger": _draw_larger,
    "append": _draw_append,
    "lines": _draw_lines,
    "remove": _draw_remove,
    "follow": _draw_follow,
}
