"""``model.generate`` for models and lengths that the decoder cannot serve; G copies of each prompt, padded.

Sampling settings are ours alone: a checkpoint's generation_config (Qwen2.5 ships top_k = 20 and a repetition penalty)
would silently change the distribution that the loss believes was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from srl.engines.stops import StopTexts
from srl.policy import Precision, autocast
from srl.types import SamplingParams

NEUTRAL_SAMPLING = {"repetition_penalty": 1.0, "min_p": None, "typical_p": 1.0, "no_repeat_ngram_size": 0}
"""Settings under which sampling is from softmax(logits / temperature), top_p and top_k and nothing else."""


@torch.no_grad()
def generate_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[Sequence[int]],
    sampling: SamplingParams,
    *,
    seed: int,
    end_token_ids: Sequence[int],
    stops: StopTexts,
    precision: Precision,
) -> list[list[int]]:
    """One completion's tokens for each prompt, cut after the first end token or stop text.

    The global random state is left as it was.
    """
    pad = int(tokenizer.pad_token_id)  # pyright: ignore
    length = max(len(ids) for ids in prompt_ids)
    input_ids = torch.full((len(prompt_ids), length), pad, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompt_ids):
        input_ids[row, length - len(ids) :] = torch.tensor(ids)
        attention_mask[row, length - len(ids) :] = 1
    settings: dict[str, Any] = {"repetition_penalty": 1.0}
    if sampling.temperature > 0:
        settings = {**NEUTRAL_SAMPLING, "temperature": sampling.temperature}
        settings |= {"top_p": sampling.top_p, "top_k": sampling.top_k}
    config = GenerationConfig(
        do_sample=sampling.temperature > 0,
        max_new_tokens=sampling.max_completion_tokens,
        eos_token_id=list(end_token_ids),
        pad_token_id=pad,
        **settings,
    )
    device, was_training, own = model.device, model.training, model.generation_config
    model.eval()
    # The checkpoint's own settings are out of the way for the call.
    model.generation_config = GenerationConfig()
    try:
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), autocast(device, precision):
            torch.manual_seed(seed)
            output: Any = model.generate(  # pyright: ignore
                input_ids=input_ids.to(device),
                attention_mask=attention_mask.to(device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([_Stopped(stops, length)]) if sampling.stop else None,
            )
    finally:
        model.generation_config = own
        model.train(was_training)
    return [_cut(row, end_token_ids, stops) for row in output[:, length:].tolist()]


class _Stopped(StoppingCriteria):
    """Ends a row at a stop text of its own; transformers' own criterion would also find one that the prompt begins."""

    def __init__(self, stops: StopTexts, prompt_length: int) -> None:
        self._stops, self._prompt_length = stops, prompt_length

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """[rows] whether each has ended."""
        found = self._stops.are_complete(input_ids[:, self._prompt_length :].tolist())
        return torch.tensor(found, device=input_ids.device)


def _cut(ids: list[int], end_token_ids: Sequence[int], stops: StopTexts) -> list[int]:
    for length in range(1, len(ids) + 1):
        if ids[length - 1] in end_token_ids or stops.are_complete([ids[:length]])[0]:
            return ids[:length]
    return ids
