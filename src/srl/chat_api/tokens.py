"""Messages -> how many tokens they may have, without the model's tokenizer: for estimates and for limits on cost."""

from __future__ import annotations

from collections.abc import Sequence

from srl.types import Message

CHARS_PER_TOKEN = 4
"""A rough figure for English and LaTeX, used for estimates only."""
MESSAGE_OVERHEAD_TOKENS = 16
"""At most so many tokens are put around a message by the usual chat templates."""


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Length of the prompt, estimated from its characters."""
    return sum(len(message["content"]) for message in messages) // CHARS_PER_TOKEN


def most_tokens(messages: Sequence[Message]) -> int:
    """Bound on the length of the prompt: no tokenizer makes more tokens than there are bytes."""
    return sum(len(message["content"].encode("utf-8", "replace")) + MESSAGE_OVERHEAD_TOKENS for message in messages)
