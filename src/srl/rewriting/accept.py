"""An LLM's answer -> the rewritten solution, or why it is rejected (B.3 of the paper: what fails is discarded).

Pure functions; the checks run again whenever an answer is read back from the journal, so changing a limit costs
nothing. The decision a reader would question: nothing is mended here. A greeting before step 1 or a number that comes
twice rejects the answer, although one could cut it out, because whatever is let through is a target that the policy
is trained on. Only what is not part of the answer is taken off: a reasoning model's thinking before ``</think>``, and
a code fence around the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from srl.rewards.outcome import answers_match
from srl.trajectories.answers import find_answer
from srl.trajectories.fields import check_characters
from srl.trajectories.reasons import RowError
from srl.trajectories.segment import split_steps
from srl.trajectories.segmentation.headers import find_headers
from srl.trajectories.settings import MIN_STEPS
from srl.types import Step

MAX_TITLE_CHARS = 100
"""Longer titles are sentences. Titles that experts wrote have up to about 60 characters."""
LENGTH_ALLOWANCE = 400
"""Characters that any rewrite may have beyond the ratio: titles and numbers weigh much in a solution of two lines."""


class RejectReason(StrEnum):
    """Why an answer is not accepted; the codes that rejections are counted by."""

    CUT_OFF = "cut_off"
    """It reached the token limit."""
    REFUSED = "refused"
    """The model or a content filter refused."""
    NO_STEPS = "no_steps"
    """It has fewer than two numbered steps."""
    TEXT_BEFORE_STEPS = "text_before_steps"
    """Something stands before step 1."""
    BROKEN_NUMBERING = "broken_numbering"
    """The bold numbers are not 1, 2, 3, ... without gaps and repeats."""
    UNTITLED_STEP = "untitled_step"
    """A step has no bold title."""
    LONG_TITLE = "long_title"
    """A title is a whole sentence."""
    EMPTY_STEP = "empty_step"
    """A step has nothing under its title."""
    LONG_STEP = "long_step"
    """A step is longer than ``max_step_chars``, so that the reader would cut it once more."""
    LOST_ANSWER = "lost_answer"
    """The original comes to a final answer, the rewrite to none."""
    CHANGED_ANSWER = "changed_answer"
    """The final answer is another one."""
    TOO_SHORT = "too_short"
    """It is much shorter than the original."""
    TOO_LONG = "too_long"
    """It is much longer than the original."""
    BAD_CHARACTERS = "bad_characters"
    """It holds a character that cannot be stored everywhere (U+0000, half a surrogate pair)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """An answer that is not used."""

    reason: RejectReason
    """What it is counted by."""
    detail: str
    """What was found and what is wanted, in words that the model is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of an answer."""

    text: str
    """The rewritten solution, stripped."""
    rejection: Rejection | None
    """None where it is accepted."""


def check_rewrite(
    answer: str,
    finish_reason: str,
    *,
    original: str,
    stated_answer: str | None,
    min_length_ratio: float,
    max_length_ratio: float,
    max_step_chars: int,
) -> Verdict:
    r"""Whether ``answer`` is a rewrite of ``original``, which comes to ``stated_answer`` (None: a proof).

    ``max_step_chars`` is the reader's limit for a step, 0 for none. Total on text; raises RewardError only if answers
    cannot be compared at all, because the grader is broken.

    >>> text = "1. **Add** $2 + 3 = 5$\n\n2. **Double** $2 \\cdot 5 = \\boxed{10}$"
    >>> limits = {"min_length_ratio": 0.3, "max_length_ratio": 3.0, "max_step_chars": 2000}
    >>> check_rewrite(text, "stop", original="2(2+3)=2*5=10", stated_answer="10", **limits).rejection is None
    True
    >>> check_rewrite(text, "stop", original="2(2+3)=11", stated_answer="11", **limits).rejection.reason.value
    'changed_answer'
    """
    text = _unwrapped(answer)
    rejection = (
        _check_whole(text, finish_reason)
        or _check_steps(text, max_step_chars)
        or _check_answer(text, stated_answer)
        or _check_length(text, original, min_length_ratio, max_length_ratio)
    )
    return Verdict(text=text, rejection=rejection)


_FENCED = re.compile(r"(?P<fence>```+|~~~+)[a-z]*[ \t]*\n(?P<inside>.*)\n(?P=fence)", re.DOTALL)
_REFUSAL = re.compile(
    r"(?:i['’]?m (?:very |so )?sorry|i am (?:very |so )?sorry|sorry[,. ]|i (?:cannot|can['’]?t|can not|won['’]?t)\b"
    r"|i['’]m (?:unable|not able)|i am (?:unable|not able)|unfortunately,? i|as an ai\b|i must decline)",
    re.IGNORECASE,
)


def _unwrapped(answer: str) -> str:
    """The answer without thinking and without a fence around all of it."""
    text = answer.rpartition("</think>")[2].strip()
    fenced = _FENCED.fullmatch(text)
    if fenced and fenced["fence"] not in fenced["inside"]:
        text = fenced["inside"].strip()
    return text


def _check_whole(text: str, finish_reason: str) -> Rejection | None:
    if finish_reason == "length":
        return Rejection(reason=RejectReason.CUT_OFF, detail="it is too long and was cut off; be brief")
    if finish_reason == "content_filter":
        return Rejection(
            reason=RejectReason.REFUSED, detail="it was refused, but only a mathematical text is asked for"
        )
    try:
        check_characters(text, "it")
    except RowError as error:
        return Rejection(reason=RejectReason.BAD_CHARACTERS, detail=error.detail)
    return None


def _check_steps(text: str, max_step_chars: int) -> Rejection | None:
    steps = split_steps(text)
    if len(steps) < MIN_STEPS:
        if _REFUSAL.match(text):
            detail = "it refuses, but only the steps of the given solution are asked for"
            return Rejection(reason=RejectReason.REFUSED, detail=detail)
        detail = 'it is not a list of at least two steps that look like "1. **Title** ..."'
        return Rejection(reason=RejectReason.NO_STEPS, detail=detail)
    headers = [header for header in find_headers(text) if header.mark != "plain"]
    if (headers[0].start if headers else 0) > 0:
        return Rejection(
            reason=RejectReason.TEXT_BEFORE_STEPS, detail="something stands before step 1; begin with step 1"
        )
    for number, step in enumerate(steps, start=1):
        rejection = _check_step(number, step, max_step_chars)
        if rejection is not None:
            return rejection
    numbers = [header.number for header in headers]
    if numbers != list(range(1, len(steps) + 1)):
        found = ", ".join(map(str, numbers[:30]))
        detail = f"the bold numbers are {found}; they must be 1, 2, 3, ... and nothing else may be numbered like this"
        return Rejection(reason=RejectReason.BROKEN_NUMBERING, detail=detail)
    return None


def _check_step(number: int, step: Step, max_chars: int) -> Rejection | None:
    if not step.title:
        return Rejection(reason=RejectReason.UNTITLED_STEP, detail=f"step {number} has no bold title after its number")
    if len(step.title) > MAX_TITLE_CHARS:
        detail = f"the title of step {number} has {len(step.title)} characters; a title is a short command"
        return Rejection(reason=RejectReason.LONG_TITLE, detail=detail)
    if not step.body:
        return Rejection(reason=RejectReason.EMPTY_STEP, detail=f"step {number} has nothing under its title")
    if 0 < max_chars < len(step.text):
        detail = f"step {number} has {len(step.text)} characters; make several steps of it, {max_chars} at most in each"
        return Rejection(reason=RejectReason.LONG_STEP, detail=detail)
    return None


def _check_answer(text: str, stated_answer: str | None) -> Rejection | None:
    if stated_answer is None:
        return None
    found = find_answer(text)
    wanted = f"the solution comes to {stated_answer}"
    if found is None:
        detail = f"{wanted}, but no final answer stands in \\boxed{{}}"
        return Rejection(reason=RejectReason.LOST_ANSWER, detail=detail)
    if not answers_match(found, stated_answer):
        detail = f"{wanted}, but \\boxed{{}} holds {found}"
        return Rejection(reason=RejectReason.CHANGED_ANSWER, detail=detail)
    return None


def _check_length(text: str, original: str, min_ratio: float, max_ratio: float) -> Rejection | None:
    length, least, most = len(text), min_ratio * len(original), max_ratio * len(original) + LENGTH_ALLOWANCE
    if length < least:
        detail = f"it has {length} characters, the solution {len(original)}; leave nothing out that is needed"
        return Rejection(reason=RejectReason.TOO_SHORT, detail=detail)
    if length > most:
        detail = f"it has {length} characters, the solution {len(original)}; add nothing that is not in it"
        return Rejection(reason=RejectReason.TOO_LONG, detail=detail)
    return None
