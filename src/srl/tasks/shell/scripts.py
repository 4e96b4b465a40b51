"""The expert of the shell task: a script per kind that acts on what its commands print.

A script yields (thought, command) and is sent what came back. How the numbers are worked out is up to ``Work``: the
expert is careful always, the writers of the corpus (corpus.py) mostly are not. A script therefore goes on from its
own mistakes, as whoever made them would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from srl.tasks.chains import Kind as OperationKind
from srl.tasks.chains import Operation, think_carefully
from srl.tasks.chains_corpus import calculate_in_the_head
from srl.tasks.documents import IN_MY_HEAD
from srl.tasks.shell.problems import NUM_APPENDED, Kind, ShellProblem, is_first_larger_by_last_digit

Script = Generator[tuple[str, str], str, None]
"""Yields (thought, command), is sent the observation."""
SUBMIT = "exit"
"""The action that ends an episode; it is not run."""
LOOK, DONE = "look", "done"
"""Thoughts before commands that need no work."""


@dataclass(frozen=True, slots=True)
class Work:
    """How whoever acts works things out; every answer comes with its thought."""

    is_careless: Callable[[], bool] = lambda: False
    """Asked once for each piece of work; the default is the expert's."""

    def calculate(self, value: int, kind: OperationKind, operand: int) -> tuple[str, int]:
        """The result of an operation, without the carry where the work is careless.

        >>> Work().calculate(47, "add", 38), Work(lambda: True).calculate(47, "add", 38)
        (('47+30=77;77+8=85', 85), ('in my head', 75))
        """
        operation = Operation(kind, operand)
        if self.is_careless():
            return IN_MY_HEAD, calculate_in_the_head(value, operation)
        return think_carefully(value, operation), operation.apply(value)

    def is_larger(self, first: int, second: int) -> tuple[str, bool]:
        """Whether the first of two two-digit numbers is larger, by the last digits where the work is careless.

        >>> Work().is_larger(47, 38), Work().is_larger(41, 47), Work(lambda: True).is_larger(47, 38)
        (('4>3', True), ('4=4;1<7', False), ('in my head', False))
        """
        if self.is_careless():
            return IN_MY_HEAD, is_first_larger_by_last_digit(first, second)
        tens, units = (f"{a}{_sign(a, b)}{b}" for a, b in zip(divmod(first, 10), divmod(second, 10), strict=True))
        return tens if "=" not in tens else f"{tens};{units}", first > second

    def pick(self, listed: str, ending: str) -> tuple[str, list[str]]:
        r"""Which of the listed names have an ending; the first one only where the work is careless.

        >>> Work().pick("a.log\nb.txt\nc.log", ".log")
        ('2 a.log c.log', ['a.log', 'c.log'])
        """
        names = [name for name in listed.split("\n") if name.endswith(ending)]
        if self.is_careless():
            return IN_MY_HEAD, names[:1]
        return f"{len(names)} {' '.join(names)}", names


def run_script(problem: ShellProblem, work: Work) -> Script:
    """What ``work`` does about ``problem``, ``exit`` included."""
    yield from _SCRIPTS[problem.kind](problem, work)
    yield DONE, SUBMIT


def _totals(_problem: ShellProblem, work: Work) -> Script:
    a, b = map(int, (yield LOOK, "cat a.txt b.txt").split())
    thought, total = work.calculate(a, "add", b)
    yield thought, f"echo {total} > c.txt"
    thought, difference = work.calculate(a, "subtract", b)
    yield thought, f"echo {difference} > d.txt"


def _larger(problem: ShellProblem, work: Work) -> Script:
    a, b = map(int, (yield LOOK, "cat a.txt b.txt").split())
    thought, is_first = work.is_larger(a, b)
    yield thought, f"mv {'a' if is_first else 'b'}.txt big/"
    thought, product = work.calculate(a if is_first else b, "multiply", problem.operand)
    yield thought, f"echo {product} > c.txt"


def _append(problem: ShellProblem, work: Work) -> Script:
    value = int((yield LOOK, "tail -n 1 a.txt"))
    for _ in range(NUM_APPENDED):
        thought, value = work.calculate(value, "add", problem.operand)
        yield thought, f"echo {value} >> a.txt"


def _lines(_problem: ShellProblem, work: Work) -> Script:
    a = int((yield LOOK, "wc -l a.txt").split()[0])
    b = int((yield LOOK, "wc -l b.txt").split()[0])
    thought, total = work.calculate(a, "add", b)
    yield thought, f"echo {total} > c.txt"
    thought, is_first = work.is_larger(a, b)
    yield thought, f"mv {'a' if is_first else 'b'}.txt big/"


def _remove(problem: ShellProblem, work: Work) -> Script:
    listed = yield LOOK, "ls"
    thought, logs = work.pick(listed, ".log")
    yield thought, f"rm {' '.join(logs)}"
    (kept,) = (name for name in listed.split("\n") if name.endswith(".txt"))
    number = int((yield LOOK, f"cat {kept}"))
    thought, total = work.calculate(number, "add", problem.operand)
    yield thought, f"mv {kept} {total}.txt"


def _follow(problem: ShellProblem, work: Work) -> Script:
    """A number that was worked out wrongly is the name of no file: the shell says so, and it is worked out again."""
    name = problem.operand
    found = yield LOOK, f"cat {name}.txt"
    while found.isdigit():
        thought, following = work.calculate(name, "add", int(found))
        seen = yield thought, f"cat {following}.txt"
        if not seen.startswith("cat: "):
            name, found = following, seen
    yield LOOK, f"echo {found} > a.txt"


def _sign(first: int, second: int) -> str:
    if first == second:
        return "="
    return ">" if first > second else "<"


_SCRIPTS: dict[Kind, Callable[[ShellProblem, Work], Script]] = {
    "totals": _totals,
    "larger": _larger,
    "append": _append,
    "lines": _lines,
    "remove": _remove,
    "follow": _follow,
}
