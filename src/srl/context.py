"""StepExample -> the same example with a context that fits into a token budget (5.3 of the paper).

The paper shows an agent's policy the issue and the last two rounds, and does not say what becomes of an observation
of a megabyte. Here the text is shortened in this order, until the rendered prompt fits:

1. every observation is cut in the middle to ``max_observation_tokens``;
2. observations are cut further, the oldest first, down to ``MIN_CUT_TOKENS``;
3. the oldest round is left out, and the others start again from 1;
4. of the last round that is left the action is cut too, then the round is left out.

The problem is never cut: an example whose problem does not fit cannot be used. Solutions are never cut either.

The decision a reader would question: the marker counts characters, not tokens. It stands for the true number, and how
many tokens the middle of a long text has is known only after tokenizing all of it, which is what cutting avoids. A
marker that an earlier cut left in the middle is added in, so that a text may be cut to characters when it is stored
and to tokens when it is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from srl.errors import ConfigError
from srl.prompts import DEFAULT_TEXTS
from srl.types import StepExample

MIN_CUT_TOKENS = 64
"""Texts are not cut to fewer tokens for the sake of the whole prompt; a round that needs it is left out."""
_CHARS_PER_TOKEN = 6  # how much of a long text is tokenized at first for each token wanted; most texts have 3 to 4
_DOUBTFUL_TOKENS = 16  # a text's first tokens may change with what follows; so many beyond twice the budget do not

Offsets = Sequence[tuple[int, int]]
"""Where each token of a text begins and ends, in characters."""


class FastTokenizer(Protocol):
    """What is used of a tokenizer of transformers; a fast one, which knows where its tokens stand in the text."""

    def __call__(
        self, text: str, /, *, add_special_tokens: bool, return_offsets_mapping: bool, verbose: bool
    ) -> Mapping[str, Any]:
        """``{"input_ids": ..., "offset_mapping": ...}``."""
        ...


@dataclass(frozen=True, kw_only=True)
class ContextLimits:
    """How long an agent's context may be, in tokens of the policy's tokenizer; None is no limit."""

    max_observation_tokens: int | None
    """Longest observation, counted by itself."""
    max_prompt_tokens: int | None
    """Longest rendered prompt, chat template included."""


def fit_example(
    example: StepExample,
    *,
    render: Callable[[StepExample], str],
    tokenizer: FastTokenizer,
    limits: ContextLimits,
    marker: str = DEFAULT_TEXTS.agent_cut_marker,
) -> StepExample | None:
    """The example with its context cut to the limits; None if even its problem makes too long a prompt.

    ``render`` gives the whole prompt as the policy reads it. What fits comes back unchanged, so fitting twice changes
    nothing more. Solutions come back as they are, or None. To know beforehand which examples can be used it is enough
    to count the tokens of ``render(keep_last_turns(example, 0))``. Raises ConfigError for limits that leave no room
    for the marker.
    """
    if limits.max_prompt_tokens is None:
        return _cut_observations(example, tokenizer, limits, marker)
    if example.kind == "solution":
        return example if count_tokens(render(example), tokenizer) <= limits.max_prompt_tokens else None
    for num_turns in range(len(example.context), 0, -1):
        fitting = _Fitting(keep_last_turns(example, num_turns), render, tokenizer, limits.max_prompt_tokens, marker)
        fitted = fitting.shrink(_cut_observations(fitting.original, tokenizer, limits, marker))
        if fitted is not None:
            return fitted
    shortest = keep_last_turns(example, 0)
    return shortest if count_tokens(render(shortest), tokenizer) <= limits.max_prompt_tokens else None


def keep_last_turns(example: StepExample, num_turns: int) -> StepExample:
    """An agent's example with its last ``num_turns`` rounds of context, or all where it holds fewer."""
    first = len(example.context) - num_turns
    if example.kind != "agent" or first <= 0:
        return example
    return replace(example, context=example.context[first:], observations=example.observations[first:])


def cut_middle(text: str, max_tokens: int, *, tokenizer: FastTokenizer, marker: str) -> str:
    """``text`` with its middle replaced by a line that counts the characters left out, if it has too many tokens.

    What is kept begins and ends ``text``, is cut between tokens and never inside a character as people see it, and
    has at most ``max_tokens`` tokens together with the marker. A text that fits is returned as it is. Of a long text
    only the two ends are tokenized. Raises ConfigError if the marker alone has more tokens.
    """
    enough = 2 * max_tokens + _DOUBTFUL_TOKENS
    head = _offsets(text[: _CHARS_PER_TOKEN * enough], tokenizer)
    length = _CHARS_PER_TOKEN * enough
    while length < len(text) and len(head) <= enough:
        length *= 4
        head = _offsets(text[:length], tokenizer)
    if length >= len(text) and len(head) <= max_tokens:
        return text
    tail = head if length >= len(text) else _offsets_of_end(text, enough, tokenizer)
    room = max_tokens - count_tokens(_filled(marker, len(text)), tokenizer)
    while True:
        start = _head_end(text, head, (max(room, 0) + 1) // 2)
        end = max(start, _tail_start(text, tail, max(room, 0) // 2))
        cut = _without(text, start, end, marker)
        excess = count_tokens(cut, tokenizer) - max_tokens
        if excess <= 0:
            return cut
        if room <= 0:
            raise ConfigError(
                f"a text cannot be cut to {max_tokens} tokens: {cut!r}, which takes the place of what is left out, has "
                f"{max_tokens + excess}; raise prompt.max_observation_tokens or shorten prompt.texts.agent_cut_marker"
            )
        room -= excess


def cut_to_chars(text: str, max_chars: int, *, marker: str) -> str:
    """The same with a limit in characters, those of the marker included; at least the marker is left."""
    if len(text) <= max_chars:
        return text
    room = max(0, max_chars - len(_filled(marker, len(text))) - 2)
    start, end = (room + 1) // 2, len(text) - room // 2
    while not is_character_border(text, start):
        start -= 1
    while not is_character_border(text, end):
        end += 1
    return _without(text, start, end, marker)


def count_tokens(text: str, tokenizer: FastTokenizer) -> int:
    """Tokens of a text by itself; for a rendered prompt, whose special tokens are written out, those of the prompt."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=False, verbose=False)
    return len(encoded["input_ids"])


@dataclass(frozen=True, slots=True)
class _Fitting:
    """One number of rounds that is tried."""

    original: StepExample
    render: Callable[[StepExample], str]
    tokenizer: FastTokenizer
    max_prompt_tokens: int
    marker: str

    def excess(self, example: StepExample) -> int:
        """Tokens that the prompt has too many."""
        return count_tokens(self.render(example), self.tokenizer) - self.max_prompt_tokens

    def shrink(self, example: StepExample) -> StepExample | None:
        """``example`` with observations cut further, the oldest first; the action too where there is one round."""
        excess = self.excess(example)
        if excess <= 0:
            return example
        names = [("observations", place) for place in range(len(example.observations))]
        names += [("context", 0)] if len(example.context) == 1 else []
        for name, place in names:
            texts: tuple[str, ...] = getattr(example, name)
            whole: str = getattr(self.original, name)[place]
            num_tokens = count_tokens(texts[place], self.tokenizer)
            while excess > 0 and num_tokens > MIN_CUT_TOKENS:
                budget = max(MIN_CUT_TOKENS, num_tokens - excess)
                cut = cut_middle(whole, budget, tokenizer=self.tokenizer, marker=self.marker)
                example = replace(example, **{name: (*texts[:place], cut, *texts[place + 1 :])})
                num_tokens = budget
                excess = self.excess(example)
        return example if excess <= 0 else None


def _cut_observations(
    example: StepExample, tokenizer: FastTokenizer, limits: ContextLimits, marker: str
) -> StepExample:
    if limits.max_observation_tokens is None:
        return example
    budget = limits.max_observation_tokens
    cut = tuple(cut_middle(text, budget, tokenizer=tokenizer, marker=marker) for text in example.observations)
    return example if cut == example.observations else replace(example, observations=cut)


def _without(text: str, start: int, end: int, marker: str) -> str:
    """``text`` with a marker in place of ``text[start:end]``; one that stood there already is counted, never halved."""
    num_missing = 0
    for earlier in _marker_lines(marker).finditer(text):
        if earlier.start() < end and start < earlier.end():
            start, end = min(start, earlier.start()), max(end, earlier.end())
            num_missing += int(earlier[1].replace(",", "")) - len(earlier[0])
    lines = (text[:start], _filled(marker, end - start + num_missing), text[end:])
    return "\n".join(line for line in lines if line)


def _filled(marker: str, count: int) -> str:
    return marker.replace("{count}", f"{count:,}")


@cache
def _marker_lines(marker: str) -> re.Pattern[str]:
    """Lines that ``marker`` makes, with the line breaks around them, which are the marker's own."""
    before, _, after = marker.partition("{count}")
    return re.compile(rf"(?:\A|\n){re.escape(before)}([0-9,]{{0,20}}[0-9]){re.escape(after)}(?:\n|\Z)")


def _offsets(text: str, tokenizer: FastTokenizer) -> Offsets:
    try:
        return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    except NotImplementedError as error:
        raise ConfigError(
            "this model's tokenizer cannot say where its tokens stand in a text, so that nothing can be cut to a "
            "number of tokens; use a model with a fast tokenizer (a tokenizer.json)"
        ) from error


def _offsets_of_end(text: str, enough: int, tokenizer: FastTokenizer) -> Offsets:
    """Offsets of the last tokens of a long text; those of its first ones are left out."""
    length = _CHARS_PER_TOKEN * enough
    while True:
        start = max(0, len(text) - length)
        offsets = _offsets(text[start:], tokenizer)
        if start == 0 or len(offsets) > enough:
            return [(begin + start, end + start) for begin, end in offsets]
        length *= 4


def _head_end(text: str, offsets: Offsets, num_tokens: int) -> int:
    """Where the first tokens of a text end; a character of several tokens is kept whole."""
    for index in range(min(num_tokens, len(offsets)), 0, -1):
        end = offsets[index - 1][1]
        if is_character_border(text, end):
            return end
    return 0


def _tail_start(text: str, offsets: Offsets, num_tokens: int) -> int:
    """Where the last tokens of a text begin."""
    for index in range(len(offsets) - min(num_tokens, len(offsets)), len(offsets)):
        start = offsets[index][0]
        if is_character_border(text, start):
            return start
    return len(text)


def is_character_border(text: str, position: int) -> bool:
    """Whether ``position`` is not inside what people see as one character (a grapheme cluster of Unicode).

    Never True inside one. May be False between two where telling them apart would take a table of Unicode's: beside
    invisible format characters, after an Indic virama, between two flags or two Hangul letters.

    >>> [is_character_border("e\u0301a", position) for position in range(4)]
    [True, False, True, True]
    """
    if position <= 0 or position >= len(text):
        return True
    before, after = text[position - 1], text[position]
    if before.isascii() and after.isascii():
        return not (before == "\r" and after == "\n")
    if unicodedata.category(before) == "Cf" or unicodedata.category(after) in ("Cf", "Mn", "Me", "Mc"):
        return False
    if unicodedata.combining(before) == _VIRAMA or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    return not any(_is_in(ranges, before) and _is_in(ranges, after) for ranges in (_FLAG_LETTERS, _HANGUL))


_VIRAMA = 9  # combining class
_FLAG_LETTERS = (("\U0001f1e6", "\U0001f1ff"),)
_HANGUL = (("\u1100", "\u11ff"), ("\ua960", "\ua97f"), ("\uac00", "\ud7ff"))


def _is_in(ranges: Sequence[tuple[str, str]], character: str) -> bool:
    return any(first <= character <= last for first, last in ranges)
