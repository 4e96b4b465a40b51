"""An engine that says what it is told: for tests, documentation and trying a recipe's data without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from srl.types import ChatPrompt, Completion, Generation, SamplingParams


class ScriptedEngine:
    """Answers every prompt with ``reply(prompt, sample_index)``; tokens are the text's UTF-8 bytes and a final 0.

    A reply that leaves no room for the 0 within ``sampling.max_completion_tokens`` is cut and ends with "length".
    """

    def __init__(self, reply: Callable[[ChatPrompt, int], str]) -> None:
        self._reply = reply
        self.num_calls = 0

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        """See Engine.generate."""
        del seed  # a script has nothing random
        self.num_calls += 1
        return [
            Generation(
                prompt_token_ids=tuple(_flatten(prompt).encode()),
                completions=tuple(
                    _cut(self._reply(prompt, index), sampling.max_completion_tokens) for index in range(num_samples)
                ),
            )
            for prompt in prompts
        ]

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        """See Engine.count_prompt_tokens."""
        return len(_flatten(prompt).encode())


def _flatten(prompt: ChatPrompt) -> str:
    return "\n".join(message["content"] for message in prompt.messages) + "\n" + prompt.assistant_prefix


def _cut(text: str, max_tokens: int) -> Completion:
    data = text.encode()
    if len(data) >= max_tokens:  # no room for the 0 that ends the turn
        return Completion(
            text=data[:max_tokens].decode(errors="ignore"), token_ids=tuple(data[:max_tokens]), finish_reason="length"
        )
    return Completion(text=text, token_ids=(*data, 0), finish_reason="stop")
