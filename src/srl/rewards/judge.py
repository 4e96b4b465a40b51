"""The similarity "judge": an LLM grades how far an action does what the target does (ours; docs/judge.md).

In: pairs of action and target. Out: a grade from 0 to 10, divided by 10, read from a last line ``Grade: N`` that is
asked for; its wording is ``JudgeTexts``. A pair is paid for once: grades are kept in memory and in a file of the run
folder, so that a run that was stopped goes on with what it has. What the judge does not grade is ``Ungraded`` and never
a number.

The decision a reader would question: the judge sees two texts and no problem, as every reward does. It can say whether
they do the same, not whether either is right. Both stand between marks that the texts cannot contain, which keeps an
action from posing as the end of itself; nothing keeps it from flattering or misleading the judge by what it says.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from srl.chat_api import ChatAnswer, ServerConfig, ask_many, check_server
from srl.errors import RewardError
from srl.prompts import JudgeTexts
from srl.rewards.judge_cache import SCALE, GradeCache
from srl.types import Message, Ungraded

UNREADABLE = "judge_unreadable"
"""The reason of a pair to which the judge gave two answers without a grade."""
MAX_REPLY_TOKENS = 2048
"""Enough for a judge that thinks first; one that does not uses some dozens, and only those are paid for."""
MAX_QUOTED_CHARS = 2000
"""An answer without a grade is quoted up to here when the judge is asked once more."""

_DEFAULT_TEXTS = JudgeTexts()
_GRADE = re.compile(r"Grade: ?(10|[0-9])")


class Judge:
    """A reward that asks an endpoint; safe to call from several threads."""

    def __init__(self, server: ServerConfig, *, cache: str = "", texts: JudgeTexts = _DEFAULT_TEXTS) -> None:
        """``cache`` is the file in which grades are kept, "" for none; a run's stages and processes share one.

        Raises ConfigError if the server cannot be asked, DataError if the file holds something else. Sends nothing.
        """
        check_server(server)
        self._server = server
        self._texts = texts
        self._cache = GradeCache(Path(cache) if cache else None)
        self._lock = threading.Lock()
        self.num_asked = 0
        """Pairs that the server was asked about."""
        self.num_cached = 0
        """Pairs that needed no request, because an equal one had been asked about, in the same call or before."""

    def __call__(self, action: str, target: str) -> float:
        """The grade of one pair. Raises RewardError where there is none."""
        (grade,) = self.many([(action, target)])
        if isinstance(grade, Ungraded):
            raise RewardError(f"the judge gave no grade: {grade.reason}")
        return grade

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """One grade in [0, 1] for each (action, target), in order; 1.0 for equal texts, which are not asked about.

        Ungraded with the reasons of ``ask_many``, or ``UNREADABLE``. Raises ConfigError as ``ask_many`` does; the
        grades that came until then are kept.
        """
        self._cache.refresh()
        grades: dict[tuple[str, str], float | Ungraded] = {pair: 1.0 for pair in pairs if pair[0] == pair[1]}
        num_equal = sum(action == target for action, target in pairs)
        missing: list[tuple[str, str]] = []
        for pair in dict.fromkeys(pairs):
            if pair in grades:
                continue
            if (grade := self._cache.get(self._key(pair))) is None:
                missing.append(pair)
            else:
                grades[pair] = grade / SCALE
        with self._lock:
            self.num_asked += len(missing)
            self.num_cached += len(pairs) - num_equal - len(missing)
        grades.update(zip(missing, self._ask(missing), strict=True))
        return [grades[pair] for pair in pairs]

    def _ask(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        conversations = [judge_messages(action, target, self._texts) for action, target in pairs]
        answers = self._answers(pairs, conversations)
        unread = [
            place
            for place, answer in enumerate(answers)
            if isinstance(answer, ChatAnswer) and read_grade(answer.text, answer.finish_reason) is None
        ]
        again = self._answers(
            [pairs[place] for place in unread],
            [conversations[place] + _repair(answers[place], self._texts) for place in unread],
        )
        for place, answer in zip(unread, again, strict=True):
            answers[place] = answer
        return [_reward_of(answer) for answer in answers]

    def _answers(
        self, pairs: Sequence[tuple[str, str]], conversations: Sequence[tuple[Message, ...]]
    ) -> list[ChatAnswer | Ungraded]:
        def keep(place: int, answer: ChatAnswer) -> None:
            grade = read_grade(answer.text, answer.finish_reason)
            if grade is not None:
                self._cache.put(self._key(pairs[place]), grade, model=self._server.model)

        return ask_many(conversations, self._server, max_tokens=MAX_REPLY_TOKENS, temperature=0.0, on_answer=keep)

    def _key(self, pair: tuple[str, str]) -> str:
        # Not the address: the same model on another machine is the same model.
        return _digest([self._server.model, asdict(self._texts), *pair])


def judge_messages(action: str, target: str, texts: JudgeTexts = _DEFAULT_TEXTS) -> tuple[Message, ...]:
    """What the judge is asked about one pair.

    The two texts stand as they are between lines with a mark: 16 hexadecimal digits of the hash of both. A text that
    contains its own hash cannot be written on purpose, and one that contains it by chance gets another mark.
    """
    mark = _digest([action, target])[:16]
    while mark in action or mark in target:
        mark = _digest([mark, action, target])[:16]
    values = {"{mark}": mark, "{target}": target, "{action}": action}
    # In one pass, so that a text that itself contains "{action}" stays as it is.
    question = re.sub(r"\{(?:mark|target|action)\}", lambda found: values[found[0]], texts.question)
    return ({"role": "system", "content": texts.system}, {"role": "user", "content": question})


def read_grade(text: str, finish_reason: str = "stop") -> int | None:
    r"""The grade in the last line that is not empty, None where there is none to rely on.

    The line must be ``Grade: N`` with N from 0 to 10; asterisks around it (bold) are allowed. An answer that was cut
    has no grade: "Grade: 1" may have been going to be "Grade: 10".

    >>> read_grade("Same result.\n\n**Grade: 10**\n"), read_grade("Grade: 7 of 10"), read_grade("Grade: 1", "length")
    (10, None, None)
    """
    last = text.strip().rpartition("\n")[2]
    found = _GRADE.fullmatch(last.replace("*", "").strip())
    return int(found[1]) if found and finish_reason != "length" else None


def _repair(answer: ChatAnswer | Ungraded, texts: JudgeTexts) -> tuple[Message, ...]:
    said = answer.text[:MAX_QUOTED_CHARS] if isinstance(answer, ChatAnswer) else ""
    return (
        {"role": "assistant", "content": said or "(nothing)"},  # many servers refuse an empty turn
        {"role": "user", "content": texts.repair},
    )


def _reward_of(answer: ChatAnswer | Ungraded) -> float | Ungraded:
    if isinstance(answer, Ungraded):
        return answer
    grade = read_grade(answer.text, answer.finish_reason)
    return Ungraded(reason=UNREADABLE) if grade is None else grade / SCALE


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()[:32]
