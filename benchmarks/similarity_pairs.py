"""The fixed sets of (action, target) pairs of ``similarities.py``, and whether the two are the same mathematics.

500 pairs of steps of solutions, cut by the project's own reader:

- 250 *real* pairs. Two solutions of one problem, by two samples of one model (qwen25math_cot_8samples) or by two of
  three models (zeroeval_mathl5): a step of the one, and the step of the same number of the other (every other pair: the
  last step of either). They are equal if their results are: the last formula of a step, or what it boxes, right of its
  last equality sign, compared by the grader of final answers.
- 250 *certain* pairs. 125 steps, each with one action that changes its writing and not its mathematics (``RIGHT``), and
  one that changes its mathematics and little of its writing (``WRONG``).

And a second set for commands and tool calls of agents: each with an action that does the same and one that does not.

The decision a reader would question: equal results of two real steps are weak evidence, for two steps may end in the
same number and differ before. So figures are given for both halves, and the certain half decides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from srl.rewards.final_answer import final_answer
from srl.rewards.outcome import answers_match
from srl.trajectories.reader import read_trajectories
from srl.types import Trajectory

SEED = 20261125
NUM_REAL = 250
NUM_CERTAIN_STEPS = 125
NUM_AGENT_ACTIONS = 80
STEP_CHARS = range(40, 1200)
MODELS = ("zeroeval_mathl5_grok2.jsonl", "zeroeval_mathl5_o1mini.jsonl", "zeroeval_mathl5_claude35sonnet.jsonl")
Change = Callable[[random.Random, str], "str | None"]
"""(random numbers, text) -> the text changed, None where there is nothing to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPair:
    """One pair of the set."""

    action: str
    target: str
    is_equal: bool
    """The label."""
    kind: str
    """ "same_step" or "last_step" for real pairs, else the change."""
    cluster: str
    """The problem or action it was made from: what the bootstrap draws."""


# --- real pairs ----------------------------------------------------------------------------------------------------

_SPAN = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<![\\\d])\$(?!\s)(.+?)(?<!\s)\$(?!\d)", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def result_of(step: str) -> str | None:
    """What a step arrives at: what it boxes, else its last formula or number, right of the last equality sign."""
    boxed = final_answer(step)
    if boxed is not None:
        return boxed
    spans = list(_SPAN.finditer(step))
    numbers = list(_NUMBER.finditer(step))
    if spans and (not numbers or numbers[-1].end() <= spans[-1].end()):
        formula = next(group for group in spans[-1].groups() if group is not None)
        return formula.rpartition("=")[2].strip(" .,;&\n").removesuffix("\\\\") or None
    return numbers[-1].group() if numbers else None


def alternatives(data: Path) -> tuple[list[list[Trajectory]], list[list[Trajectory]]]:
    """Solutions by problem: samples of one model, and solutions of several models."""
    by_problem: list[dict[str, list[Trajectory]]] = [{}, {}]
    for index, file in enumerate(("qwen25math_cot_8samples.jsonl", *MODELS)):
        for item in read_trajectories(str(data / "math" / file)):
            if isinstance(item, Trajectory):
                by_problem[min(index, 1)].setdefault(item.problem, []).append(item)
    several = [[group for group in groups.values() if len(group) > 1] for groups in by_problem]
    return several[0], several[1]


def real_pairs(groups: Sequence[Sequence[Trajectory]], number: int, rng: random.Random) -> list[LabelledPair]:
    """``number`` pairs of steps of two solutions of one problem."""
    pairs: list[LabelledPair] = []
    while len(pairs) < number:
        first, second = rng.sample(list(rng.choice(groups)), 2)
        kind = ("same_step", "last_step")[len(pairs) % 2]
        place = rng.randrange(min(len(first.steps), len(second.steps))) if kind == "same_step" else -1
        action, target = (solution.steps[place].text.strip() for solution in (first, second))
        found, expected = result_of(action), result_of(target)
        if found and expected and len(action) in STEP_CHARS and len(target) in STEP_CHARS and action != target:
            is_equal = answers_match(found, expected)
            pairs.append(
                LabelledPair(action=action, target=target, is_equal=is_equal, kind=kind, cluster=first.problem)
            )
    return pairs


# --- certain pairs -------------------------------------------------------------------------------------------------

_WORDING = {
    "Therefore": "So", "Thus": "Hence", "So": "Therefore", "Hence": "Thus", "we get": "this gives",
    "we have": "there is", "we need to": "we must", "we can": "one can", "First": "To begin with",
    "Next": "After that", "Now": "At this point", "is equal to": "equals", "To find": "In order to find",
    "Let": "We let", "Since": "Because", "because": "since", "gives": "yields", "must be": "has to be",
}  # fmt: skip
_WORDS = re.compile(r"\b(?:" + "|".join(map(re.escape, _WORDING)) + r")\b")
_LATEX = (
    (re.compile(r"\\frac(?![A-Za-z])"), r"\\dfrac"), (re.compile(r"\\times(?![A-Za-z])"), r"\\cdot "),
    (re.compile(r"\\\(\s*(.+?)\s*\\\)"), r"$\1$"), (re.compile(r"\\\[\s*(.+?)\s*\\\]", re.DOTALL), r"$$\1$$"),
    (re.compile(r"\^([0-9a-z])(?![0-9a-z])"), r"^{\1}"), (re.compile(r"\\left(?=[(\[])|\\right(?=[)\]])"), ""),
)  # fmt: skip
_OPERANDS = re.compile(r"(?<![\d\w.^/*)}+-] )(?<![\w.^/*)}+-])(\d+) (\+|\\times|\\cdot|\*|×) (\d+) (?==)")


def respelled(rng: random.Random, text: str) -> str | None:
    """Other LaTeX for the same formulas."""
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return text


def reworded(rng: random.Random, text: str) -> str | None:
    """Other words between the formulas."""
    changed = _WORDS.sub(lambda word: _WORDING[word.group()], text)
    return changed if len(_WORDS.findall(text)) > 1 else None


def sides_swapped(rng: random.Random, text: str) -> str | None:
    """``a = b`` as ``b = a`` in one formula."""
    simple = [
        (span, index)
        for span in _SPAN.finditer(text)
        for index, group in enumerate(span.groups(), 1)
        if group and group.count("=") == 1 and not re.search(r"[<>&,]|\\(?:le|ge|ne|text|implies|\\|quad)", group)
    ]
    if not simple:
        return None
    span, index = rng.choice(simple)
    left, _, right = span[index].strip(" .\n").partition("=")
    return f"{text[: span.start(index)]} {right.strip()} = {left.strip()} {text[span.end(index) :]}"


def operands_swapped(rng: random.Random, text: str) -> str | None:
    """``3 + 4`` as ``4 + 3`` wherever a side of an equation is just that."""
    return _OPERANDS.sub(r"\3 \2 \1 ", text)


def lines_reordered(rng: random.Random, text: str) -> str | None:
    """Two items of a list, or two sentences without formulas between them, change places."""
    lines = text.split("\n")
    places = [i for i in range(len(lines) - 1) if all(line.lstrip().startswith("- ") for line in lines[i : i + 2])]
    if not places:
        return None
    place = rng.choice(places)
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    return "\n".join(lines)


def number_changed(rng: random.Random, text: str) -> str | None:
    """The last digit of the last number is another one."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    place = numbers[-1].end() - 1
    return text[:place] + str((int(text[place]) + rng.randrange(1, 10)) % 10) + text[place + 1 :]


def digits_swapped(rng: random.Random, text: str) -> str | None:
    """Two digits of a number change places."""
    numbers = [number for number in re.finditer(r"(?<![\d.,])\d\d(?![\d.,]*\d)", text) if len(set(number.group())) == 2]
    if not numbers:
        return None
    number = rng.choice(numbers)
    return text[: number.start()] + number.group()[::-1] + text[number.end() :]


def sign_flipped(rng: random.Random, text: str) -> str | None:
    """One + is a -, or the other way round."""
    signs = list(re.finditer(r"(?<=[\w)}] )[+-](?= [\w\\(])", text))
    if not signs:
        return None
    sign = rng.choice(signs)
    return text[: sign.start()] + ("-" if sign.group() == "+" else "+") + text[sign.end() :]


def letter_renamed(rng: random.Random, text: str) -> str | None:
    """One of several occurrences of a variable is another letter."""
    letters = [
        (span.start(index) + letter.start())
        for span in _SPAN.finditer(text)
        for index, group in enumerate(span.groups(), 1)
        if group and len(group) > 4
        for letter in re.finditer(r"(?<![\\A-Za-z{])[a-z](?![A-Za-z}])", group)
    ]
    if len(letters) < 2:
        return None
    place = rng.choice(letters)
    other = rng.choice([letter for letter in "kmnpqruvwz" if letter not in text] or ["j"])
    return text[:place] + other + text[place + 1 :]


def result_left_out(rng: random.Random, text: str) -> str | None:
    """The last formula is not there."""
    spans = list(_SPAN.finditer(text))
    return text[: spans[-1].start()] + text[spans[-1].end() :] if len(spans) > 1 else None


RIGHT: tuple[Change, ...] = (respelled, reworded, sides_swapped, operands_swapped, lines_reordered)
WRONG: tuple[Change, ...] = (number_changed, digits_swapped, sign_flipped, letter_renamed, result_left_out)


def certain_pairs(steps: Sequence[tuple[str, str]], number: int, rng: random.Random) -> list[LabelledPair]:
    """For ``number`` steps (cluster, text) one pair that is equal and one that is not; all kinds equally often."""
    pairs: list[LabelledPair] = []
    used: set[str] = set()
    for turn in range(number):
        right, wrong = RIGHT[turn % len(RIGHT)], WRONG[(turn + turn // len(WRONG)) % len(WRONG)]
        while True:
            cluster, text = rng.choice(steps)
            variants = right(rng, text), wrong(rng, text)
            if text not in used and None not in variants and text not in variants:
                break
        used.add(text)
        for variant, change in zip(variants, (right, wrong), strict=True):
            pairs.append(
                LabelledPair(
                    action=str(variant), target=text, is_equal=change is right, kind=change.__name__, cluster=cluster
                )
            )
    return pairs


def math_pairs(data: Path) -> list[LabelledPair]:
    """The set of 500."""
    rng = random.Random(SEED)
    samples, models = alternatives(data)
    pairs = real_pairs(samples, NUM_REAL // 2, rng) + real_pairs(models, NUM_REAL - NUM_REAL // 2, rng)
    steps = [
        (solution.problem, step.text.strip())
        for groups in (samples, models)
        for group in groups
        for solution in group
        for step in solution.steps
        if len(step.text.strip()) in STEP_CHARS
    ]
    return pairs + certain_pairs(steps, NUM_CERTAIN_STEPS, rng)
