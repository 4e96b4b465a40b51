"""The Engine protocol: whatever samples completions for prompts.

``scripted`` replays given texts (pure Python: tests, docs), ``transformers`` samples from a local model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from srl.types import ChatPrompt, Generation, SamplingParams


class Engine(Protocol):
    """Samples completions. Implementations must be deterministic in (weights, prompts, sampling, seed)."""

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        """``num_samples`` completions for each prompt, in the order of the prompts.

        ``seed`` alone decides the random choices: the global random state is left as it was, so that an evaluation
        in the middle of training changes nothing.
        """
        ...

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        """How many tokens the rendered prompt has; 0 from engines without tokens."""
        ...


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that hands over prompts as it finishes them, so that their rewards are computed meanwhile."""

    def stream(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> Iterator[dict[int, Generation]]:
        """What ``generate`` returns, in parts: generations by the index of their prompt, each index once."""
        ...
