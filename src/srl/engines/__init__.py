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
    """An engine that takes prompts when it has room for them and hands each over when it is finished.

    Rewards are computed meanwhile, and the next prompts start while the slowest ones still run.
    """

    def stream(
        self, prompts: Iterator[ChatPrompt | None], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> Iterator[dict[int, Generation]]:
        """Finished prompts by their place in the order in which they were taken (0, 1, ...), each once.

        ``prompts`` is asked whenever there is room for another one. None is no prompt and has no place: there is none
        at the moment, and the engine asks again later. When it has nothing to do and has just been told None, it
        yields {}, so that the consumer can catch up; the feed must then give a prompt or end. Closing the generator
        stops the sampling of everything in flight.

        Random choices depend on (seed, place, sample) and on nothing else, neither on what runs at the same time nor
        on when a prompt was taken. When a part is handed over must not depend on the clock.
        """
        ...
