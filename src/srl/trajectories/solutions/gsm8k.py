r"""GSM8K's lines -> Trajectory: one step per line, the closing "#### 72" as the last step of its own.

The calculator's annotations ("6*7 = <<6*7=42>>42") are taken out of the text: they were made for a tool of the
dataset's authors, and nobody writes so. In the Socratic variant a line is "question ** calculation"; the question is
the step's title, the calculation its body.

The decision a reader would question: "#### 72" is a step, so that a solution of one line has something to predict,
and so that the rule of leaving out the last step (N-1 examples, 4.2 of the paper) leaves out the bare answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from srl.trajectories.answers import find_answer
from srl.trajectories.fields import (
    PROBLEM_FIELDS,
    SOLUTION_FIELDS,
    field_value,
    is_blank,
    present_field,
    read_id,
    read_text,
)
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.segment import Segmentation
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions import plain
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Step, Trajectory

_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_ANSWER_LINE = re.compile(r"^####[ \t]*(\S.*)$")
_BOX_LINE = re.compile(r"^\\boxed\{.*\}\.?$")
_NUMBER_LINE = re.compile(r"^####[ \t]*[-+]?[$€£]?[-+]?[\d.][\d,./]*[ \t]*%?$")
# Lines of a formula that is set off belong together; GSM8K has none.
_DISPLAY = ("\\[", "$$", "\\begin{")
_SOCRATIC = " ** "


def matches(value: JsonObject) -> bool:
    """Whether a text ends with a line "#### answer" as GSM8K's do: in ``answer``, or annotated in a solution."""
    name = _solution_name(value)
    return name is not None and present_field(value, PROBLEM_FIELDS) is not None


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row."""
    name = _solution_name(row.value)
    if name is None or settings.solution_field:
        return plain.parse(row, settings)
    problem = read_text(row.value, (settings.problem_field,) if settings.problem_field else PROBLEM_FIELDS)
    trajectory = solution_trajectory(
        row,
        settings=settings,
        format="gsm8k",
        trajectory_id=read_id(row.value, row.source),
        problem=problem,
        solution=without_annotations(read_text(row.value, (name,))),
        splitter=lambda solution, _: Segmentation(steps=split_lines(solution), splitter="lines"),
        find=_find_answer,
    )
    return [trajectory]


def without_annotations(text: str) -> str:
    """``text`` as people write it.

    >>> without_annotations("6*7 = <<6*7=42>>42 tiles")
    '6*7 = 42 tiles'
    """
    return _ANNOTATION.sub("", text)


def split_lines(solution: str) -> tuple[Step, ...]:
    r"""One step per line; blank lines belong to the step before them. Joining the texts gives ``solution`` back.

    >>> [(step.title, step.body) for step in split_lines("How many? ** 1 + 2 = 3\n#### 3")]
    [('How many?', '1 + 2 = 3'), ('', '#### 3')]
    """
    texts: list[str] = []
    for line in re.split(r"(?<=\n)", solution):
        if texts and (not line.strip() or not texts[-1].strip()):
            texts[-1] += line
        elif line:
            texts.append(line)
    is_socratic = any(_SOCRATIC in text for text in texts) and all(
        text.count(_SOCRATIC) == 1 or _is_answer(text.strip()) for text in texts
    )
    return tuple(_step(text, is_socratic=is_socratic) for text in texts)


def _step(text: str, *, is_socratic: bool) -> Step:
    title, separator, body = text.partition(_SOCRATIC) if is_socratic else ("", "", text)
    if is_socratic and not separator:
        title, body = "", text
    return Step(title=title.strip(), text=text, body=body.strip())


def _solution_name(value: JsonObject) -> str | None:
    """The field with lines that end as GSM8K's; None where there is none."""
    own = present_field(value, SOLUTION_FIELDS)
    if own is not None and not is_blank(value[own]):
        return own if _ends_with_answer(value[own]) and _ANNOTATION.search(str(value[own])) else None
    name = present_field(value, ("answer",))
    return name if name is not None and _ends_with_answer(field_value(value, name)) else None


def _ends_with_answer(text: object) -> bool:
    if not isinstance(text, str) or any(mark in text for mark in _DISPLAY):
        return False
    before, _, last = text.rstrip().rpartition("\n")
    if not before.strip():
        return False
    if _ANNOTATION.search(text):
        return _is_answer(last.strip())
    return _NUMBER_LINE.match(last.strip()) is not None  # "#### Conclusion" is a heading


def _is_answer(line: str) -> bool:
    """Whether a line of an annotated solution is its answer; camel-ai's copies write it into a box."""
    return _ANSWER_LINE.match(line) is not None or _BOX_LINE.match(line) is not None


def _find_answer(solution: str) -> str | None:
    found = _ANSWER_LINE.match(solution.rstrip().rpartition("\n")[2].strip())
    return find_answer(solution) or (found[1].strip() if found else None)
