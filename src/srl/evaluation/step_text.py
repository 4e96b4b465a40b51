"""Completion of a step prompt -> monologue, action, ParseStatus, with or without the duty to think.

Training pays only for steps with thoughts. An evaluation that compares methods must not give a policy 0 for the format
alone, where its training taught it to write the expert's steps and no thoughts.
"""

from __future__ import annotations

from srl.parsing import parse_step
from srl.types import FinishReason, ParsedCompletion, ParseStatus


def read_step(text: str, finish_reason: FinishReason, *, needs_think: bool) -> ParsedCompletion:
    """``parse_step``; without ``needs_think`` a whole step that has no tags at all is its own action.

    >>> read_step("x = 42", "stop", needs_think=False).action
    'x = 42'
    >>> read_step("x = 42</think>", "stop", needs_think=False).status
    <ParseStatus.TEXT_BEFORE_THINK: 'text_before_think'>
    """
    parsed = parse_step(text, finish_reason)
    if needs_think or parsed.status is not ParseStatus.MISSING_THINK:
        return parsed
    action = text.strip()
    return ParsedCompletion(status=ParseStatus.OK if action else ParseStatus.EMPTY_ACTION, monologue="", action=action)
