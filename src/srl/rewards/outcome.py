r"""Text with a final answer, reference answer -> right, wrong or ungraded; RLVR's reward and every evaluation's grader.

Four steps: find the answer that the text marks (``final_answer``), compare it with the reference as text, choice and
number (``comparison``), let math-verify decide what that leaves open (``grading``), and put the parts together. Units
are ignored, as in the Qwen2.5-Math package that the paper grades with. docs/grading.md has all rules.

The decision a reader would question: what is *ungraded* and not wrong. An answer whose evaluation does not end within
the deadline, runs out of memory or ends its process has not been compared, and nobody knows whether it is right. It
is counted and left out. A policy gains nothing by writing such answers: a rollout without a reward has no advantage.
"""

from __future__ import annotations

from collections.abc import Sequence

from srl.errors import RewardError
from srl.rewards.comparison import Pair, compare
from srl.rewards.final_answer import Unmarked, final_answer
from srl.rewards.grading import DEADLINE_SECONDS, shared_grader
from srl.types import Ungraded

__all__ = ["OutcomeReward", "answers_match", "final_answer", "grade", "grade_many", "is_correct", "outcome_reward"]


class OutcomeReward:
    """1.0 for a right final answer, 0.0 for a wrong one or none; cheapest for many at once."""

    def __init__(self, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """``deadline_seconds``: an answer that takes longer to compare is ungraded."""
        self.deadline_seconds = deadline_seconds

    def __call__(self, action: str, target: str) -> float | Ungraded:
        """The reward of one action; see ``grade``."""
        (reward,) = self.many([(action, target)])
        return reward

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The rewards of (action, reference) pairs, in their order."""
        grades = grade_many(pairs, deadline_seconds=self.deadline_seconds)
        return [grade if isinstance(grade, Ungraded) else float(grade) for grade in grades]


def outcome_reward(action: str, target: str) -> float | Ungraded:
    r"""1.0 when the final answer in ``action`` is right, else 0.0 (RLVR); see ``grade``.

    >>> outcome_reward(r"It is \boxed{27}.", "27.0"), outcome_reward("It is 27.", "27.0")
    (1.0, 0.0)
    """
    return OutcomeReward()(action, target)


def grade(text: str, reference: str, *, unmarked: Unmarked = "wrong") -> bool | Ungraded:
    r"""Whether the final answer that ``text`` marks equals ``reference``; False when it marks none.

    ``reference`` is an answer in any notation, or a text that marks its own final answer. Raises RewardError when it
    is empty or the grader does not work.

    >>> grade(r"\boxed{(C)}", "C"), grade(r"\boxed{50\%}", r"\frac{1}{2}"), grade("The answer is 7.", "8")
    (True, True, False)
    """
    (result,) = grade_many([(text, reference)], unmarked=unmarked)
    return result


# Paper: 5.1 grades with the Qwen2.5-Math package; here it is text, choice and number, then math-verify.
def grade_many(
    pairs: Sequence[tuple[str, str]], *, deadline_seconds: float = DEADLINE_SECONDS, unmarked: Unmarked = "wrong"
) -> list[bool | Ungraded]:
    """``grade`` for (text, reference) pairs; what math-verify must decide is given to the workers all at once."""
    compared: list[bool | list[Pair]] = []
    for text, reference in pairs:
        expected = (final_answer(reference) or reference).strip()
        if not expected:
            raise RewardError("the reference answer is empty; every problem needs one that can be graded against")
        answer = final_answer(text, unmarked=unmarked)
        compared.append(answer is not None and compare(answer, expected))
    return _decide(compared, deadline_seconds)


def is_correct(text: str, reference: str) -> bool:
    """Whether ``text`` is known to be right: False for an ungraded answer too, where ``grade`` tells the two apart."""
    return grade(text, reference) is True


def answers_match(answer: str, reference: str) -> bool:
    """Whether two bare answers are known to mean the same, by the rules of ``grade``. False for ungraded ones too.

    Not symmetric: the reference decides how exact a decimal must be.
    """
    (result,) = _decide([compare(answer, reference)], DEADLINE_SECONDS)
    return result is True


def _decide(compared: Sequence[bool | list[Pair]], deadline_seconds: float) -> list[bool | Ungraded]:
    """The comparisons with their open pairs decided: one that is different makes the whole different."""
    open_pairs = [pair for item in compared if isinstance(item, list) for pair in item]
    results = iter(shared_grader(deadline_seconds=deadline_seconds).match_many(open_pairs) if open_pairs else [])
    decided: list[bool | Ungraded] = []
    for item in compared:
        if isinstance(item, bool):
            decided.append(item)
            continue
        members = [next(results) for _ in item]
        decided.append(False if False in members else next((it for it in members if it is not True), True))
    return decided
