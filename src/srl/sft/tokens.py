"""The examples of an sft stage -> token ids, prompt and completion apart, so that the loss is of the completion alone.

The prompt's tokens are those of the stages that sample; the completion is the target's tokens and the end of the turn.
The decision a reader would question: an example that is too long is left out and counted, never cut. A solution that
was cut has no end, and a policy that learns from it learns not to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from srl.engines.transformers import opens_think, render
from srl.errors import ConfigError
from srl.parsing import THINK_OPEN
from srl.stage_data import StageData
from srl.training_examples import TrainingExamples
from srl.types import TrainingExample


@dataclass(frozen=True, kw_only=True, slots=True)
class TaughtExample:
    """One example as token ids; each part has at least one."""

    prompt_ids: NDArray[np.int32]
    """What is read."""
    completion_ids: NDArray[np.int32]
    """What is learned, the token that ends the turn included."""

    def __len__(self) -> int:
        """Tokens of both."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, kw_only=True)
class TaughtData:
    """The examples of a stage as token ids, in the order of its examples."""

    training: Sequence[TaughtExample]
    """What is drawn from."""
    validation: Sequence[TaughtExample]
    """Held-out examples; [] without validation."""


def tokenize_stage(
    data: StageData, model_config: Any, tokenizer: PreTrainedTokenizerBase
) -> tuple[StageData, TaughtData]:
    """The stage's examples as token ids, without those of more than ``sft.max_tokens``; returns the stage without them.

    Raises ConfigError when none is left, when the model's chat template opens ``<think>`` and the expert does not
    think, or when the tokenizer names no end of a turn.
    """
    stage = data.stage
    if not isinstance(stage.training, TrainingExamples) or not isinstance(stage.validation, TrainingExamples):
        raise TypeError("tokenize_stage takes what build_stage returns")
    window = getattr(model_config, "max_position_embeddings", None) or 2**31
    limit = min(window, stage.config.sft.max_tokens or window)
    training, taught = _fitting(stage.training, tokenizer, limit)
    validation, checked = _fitting(stage.validation, tokenizer, limit)
    if not taught:
        raise ConfigError(
            f"stage {stage.name}: no example fits into {limit} tokens, prompt and completion (the model's window is "
            f"{window}, sft.max_tokens = {stage.config.sft.max_tokens or 'the window'})"
        )
    num_dropped = len(stage.training) + len(stage.validation) - len(training) - len(validation)
    dropped = data.dropped | ({"too_many_tokens": num_dropped} if num_dropped else {})
    kept = StageData(stage=replace(stage, training=training, validation=validation), dropped=dropped)
    return kept, TaughtData(training=taught, validation=checked)


def tokenize(examples: Iterable[TrainingExample], tokenizer: PreTrainedTokenizerBase) -> Iterator[TaughtExample]:
    """Prompt and completion of each example as token ids. Raises ConfigError, see ``tokenize_stage``."""
    end = tokenizer.eos_token_id
    if end is None:
        raise ConfigError("the tokenizer names no end-of-turn token (eos_token); the policy could never learn to stop")
    for example in examples:
        prompt, target = render(example.prompt, tokenizer), example.target
        if opens_think(prompt):  # the tag stands in the prompt already
            if not target.startswith(THINK_OPEN):
                raise ConfigError(
                    "this model's chat template opens <think> at the start of the assistant's turn, and the expert's "
                    f"text of {example.example_id} does not begin with thinking, so that it would be learned as "
                    'thinking; use sft.teach = "trace" on data with thinking, or another model'
                )
            target = target.removeprefix(THINK_OPEN)
        yield TaughtExample(
            prompt_ids=np.array(_ids(prompt, tokenizer), dtype=np.int32),
            completion_ids=np.array([*_ids(target, tokenizer), end], dtype=np.int32),
        )


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The chat template has written the special tokens already."""
    encoded = tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)
    return cast("list[int]", encoded["input_ids"])


def _fitting(
    examples: TrainingExamples, tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[TrainingExamples, list[TaughtExample]]:
    kept = [(place, taught) for place, taught in enumerate(tokenize(iter(examples), tokenizer)) if len(taught) <= limit]
    return examples.subset([place for place, _ in kept]), [taught for _, taught in kept]


def pad_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills rows; ``load_policy`` sees to it that there is one."""
    return cast("int", tokenizer.pad_token_id)
