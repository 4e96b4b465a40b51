"""Completion text -> monologue, action, ParseStatus (section 3 of docs/method.md).

Two formats, two total functions that never raise:

* ``parse_step``: exactly one leading ``<think>...</think>``, then a non-empty action. What SRL trains.
* ``parse_solution``: a whole solution with any number of closed ``<think>`` blocks anywhere. What RLVR trains and
  evaluation scores.

The decisions a reader would question: tags are lower case and nothing else (``<THINK>`` is plain text, so a
completion that opens with it has no monologue); white space around the block is ignored; an empty monologue is
allowed, an empty action is not; a completion cut by the token limit is ``TRUNCATED`` whatever it holds, because what
it would have become is unknown; a tag inside the monologue or the action is ``STRAY_TAG``, because it is then unclear
which text is the action.
"""

from __future__ import annotations

import re

from srl.types import FinishReason, ParsedCompletion, ParseStatus

# Paper: 4.2 gives -1 to what breaks "the format" and lists no cases; parse_step draws the line.
THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
_TAG = re.compile(r"</?think>")
_BLOCK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def parse_step(text: str, finish_reason: FinishReason) -> ParsedCompletion:
    """Parse the completion of a step prompt.

    >>> parse_step("<think>6*7 is 42</think> x = 42", "stop").action
    'x = 42'
    >>> parse_step("x = 42", "stop").status
    <ParseStatus.MISSING_THINK: 'missing_think'>
    """
    body = text.strip()
    tags = _TAG.findall(body)
    if not body.startswith(THINK_OPEN):
        status = ParseStatus.TEXT_BEFORE_THINK if tags else ParseStatus.MISSING_THINK
        return _parsed(_or_truncated(status, finish_reason))
    monologue, closed, action = body.removeprefix(THINK_OPEN).partition(THINK_CLOSE)
    if not closed:
        status = ParseStatus.UNCLOSED_THINK
    elif len(tags) != 2:
        status = ParseStatus.STRAY_TAG
    elif not action.strip():
        status = ParseStatus.EMPTY_ACTION
    else:
        status = ParseStatus.OK
    return _parsed(_or_truncated(status, finish_reason), monologue, action)


def parse_solution(text: str, finish_reason: FinishReason) -> ParsedCompletion:
    """Parse a whole solution: the action is everything outside the ``<think>`` blocks, the monologue all inside them.

    >>> parse_solution("<think>2+3</think>5, <think>5+1</think>so 6", "stop").action
    '5, so 6'
    """
    monologue = "\n".join(match.strip() for match in _BLOCK.findall(text))
    action = _BLOCK.sub("", text)
    left_over = _TAG.search(action)
    if left_over or _TAG.search(monologue):
        opens = left_over is not None and left_over.group() == THINK_OPEN
        status = ParseStatus.UNCLOSED_THINK if opens else ParseStatus.STRAY_TAG
    elif not action.strip():
        status = ParseStatus.EMPTY_ACTION
    else:
        status = ParseStatus.OK
    return _parsed(_or_truncated(status, finish_reason), monologue, action)


def _or_truncated(status: ParseStatus, finish_reason: FinishReason) -> ParseStatus:
    return ParseStatus.TRUNCATED if finish_reason == "length" else status


def _parsed(status: ParseStatus, monologue: str = "", action: str = "") -> ParsedCompletion:
    action = action.strip() if status is ParseStatus.OK else ""
    return ParsedCompletion(status=status, monologue=monologue.strip(), action=action)
