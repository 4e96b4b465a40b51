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
from dataclasses import dataclass

from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.prompts import next_step_prompt, solve_prompt
from srl.quickstart.task import (
    QUICKSTART_TEXTS,
    ChainProblem,
    Kind,
    Operation,
    keep_two_digits,
    minuend,
    think_carefully,
    write_step,
)
from srl.types import ChatPrompt

CARELESS_SHARE: dict[Kind, float] = {"add": 0.65, "subtract": 0.8, "multiply": 0.8}
"""How often a step is done in the head. Above one half, greedy decoding is always careless."""
IN_MY_HEAD = "in my head"
"""The whole monologue of a careless step."""
SET_PHRASES = (
    "Start with ", ") add ", ") subtract ", ") multiply by ", ", ",
    ". Keep only the last two digits after each operation.",
    ". **Add ", ". **Subtract ", ". **Multiply by ", "** ", ", keep ", ".\n\n", ". The answer is \\boxed{", "}.",
    IN_MY_HEAD, "system\n", "user\n", "assistant\n", QUICKSTART_TEXTS.step_system, QUICKSTART_TEXTS.solve_system,
)  # fmt: skip
"""Wording that is always the same and becomes one token each: on a CPU that is as good as a model twice as fast."""
_STEP_SHARE = 0.4  # of the documents ask for one step, the others for a whole solution
_EXEMPLARY_SHARE = 0.35  # of the whole solutions are careful throughout
_DROP_THOUGHTS_SHARE = 0.5  # of the other whole solutions lack some of their thoughts
_DROP_SHARE = 0.5  # of the thoughts are missing in those
_NO_CARELESSNESS: dict[Kind, float] = dict.fromkeys(CARELESS_SHARE, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One piece of the corpus: a prompt and a completion in segments."""

    prompt: ChatPrompt
    """As the policy will be asked."""
    segments: tuple[tuple[str, bool], ...]
    """Pieces of the completion and whether the model learns to write them; the others are only read."""


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


def write_document(problem: ChainProblem, rng: random.Random) -> Document:
    """One document about ``problem``, in a mode and by writers that ``rng`` chooses."""
    if rng.random() < _STEP_SHARE:
        written = _write_steps(problem, rng, CARELESS_SHARE)
        index = rng.randrange(len(written))
        thought, step = written[index]
        context = [earlier for _, earlier in written[:index]]
        place = "user" if rng.random() < 0.5 else "assistant"
        prompt = next_step_prompt(problem.problem, context, context_in=place, texts=QUICKSTART_TEXTS)
        return Document(prompt=prompt, segments=((thought + step, True),))
    prompt = solve_prompt(problem.problem, texts=QUICKSTART_TEXTS)
    if rng.random() < _EXEMPLARY_SHARE:
        return Document(prompt=prompt, segments=_exemplary_segments(problem, rng))
    return Document(prompt=prompt, segments=_ordinary_segments(problem, rng))


def _ordinary_segments(problem: ChainProblem, rng: random.Random) -> tuple[tuple[str, bool], ...]:
    """A whole solution; some thoughts may be missing, so that skill does not depend on earlier thoughts in view."""
    written = _write_steps(problem, rng, CARELESS_SHARE)
    drop_share = _DROP_SHARE if rng.random() < _DROP_THOUGHTS_SHARE else 0.0
    segments: list[tuple[str, bool]] = []
    for number, (thought, step) in enumerate(written, start=1):
        is_last = number == len(written)
        text = step if is_last else f"{step}\n\n"
        # A step without its thought is context only: nobody should learn to leave thoughts out.
        drop = not is_last and rng.random() < drop_share
        segments.append((text, False) if drop else (thought + text, True))
    return tuple(segments)


def _exemplary_segments(problem: ChainProblem, rng: random.Random) -> tuple[tuple[str, bool], ...]:
    """A whole solution that is careful throughout, without the loss on the decision to be careful.

    Six careful steps in a row would otherwise hardly ever be seen, and a policy that has become careful would find
    itself in unknown terrain. The decision is the first character of a thought; how often it is taken is learned from
    the other documents alone.
    """
    segments: list[tuple[str, bool]] = []
    written = _write_steps(problem, rng, _NO_CARELESSNESS)
    for number, (thought, step) in enumerate(written, start=1):
        decision = len(THINK_OPEN) + 1
        text = step if number == len(written) else f"{step}\n\n"
        segments += [(thought[:decision], False), (thought[decision:] + text, True)]
    return tuple(segments)


def _write_steps(problem: ChainProblem, rng: random.Random, careless_share: dict[Kind, float]) -> list[tuple[str, str]]:
    """(thought in its tags, step) of every step, with the mistakes that careless steps make."""
    value = problem.start
    written: list[tuple[str, str]] = []
    for number, operation in enumerate(problem.operations, start=1):
        if rng.random() < careless_share[operation.kind]:
            thought, result = IN_MY_HEAD, calculate_in_the_head(value, operation)
        else:
            thought, result = think_carefully(value, operation), operation.apply(value)
        step = write_step(number, value, operation, result, is_last=number == len(problem.operations))
        written.append((f"{THINK_OPEN}{thought}{THINK_CLOSE}", step))
        value = keep_two_digits(result)
    return written
