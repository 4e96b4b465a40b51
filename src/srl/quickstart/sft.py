"""Supervised fine-tuning in its simplest form: the baseline of the quickstart and the warm-up of tiny models.

Token-mean cross-entropy on completions, AdamW, constant learning rate.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.checkpoint import save_model
from srl.engines.transformers import render
from srl.logprobs import completion_logprobs, pad_batch
from srl.policy import load_policy
from srl.prompts import PromptTexts, solve_prompt
from srl.seeds import derive_seed
from srl.types import ChatPrompt, Trajectory

PromptCompletion = tuple[ChatPrompt, str]
"""A prompt and the completion to learn; the end-of-turn token is added."""


def train_on_solutions(
    model_path: Path,
    trajectories: Sequence[Trajectory],
    output: Path,
    *,
    texts: PromptTexts,
    num_examples: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> Path:
    """Learn the expert's solutions by heart; returns ``output``, a model folder.

    The prompts are those of RLVR. The expert gives actions and no thoughts, so the policy learns to stop thinking:
    that is what the comparison of the quickstart is about.
    """
    model, tokenizer = load_policy(model_path)
    pairs = [(solve_prompt(item.problem, texts=texts), item.solution.strip()) for item in trajectories]
    fine_tune(
        model,
        tokenizer,
        pairs,
        num_examples=num_examples,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    save_model(output, model, tokenizer)
    return output


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PromptCompletion],
    *,
    num_examples: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Train ``model`` in place on ``num_examples`` pairs (whole batches), epoch after epoch in new order."""
    end = [cast("int", tokenizer.eos_token_id)]
    tokens = tokenizer([render(prompt, tokenizer) for prompt, _ in pairs], add_special_tokens=False)
    prompts = cast("list[list[int]]", tokens["input_ids"])
    tokens = tokenizer([completion for _, completion in pairs], add_special_tokens=False)
    completions = [ids + end for ids in cast("list[list[int]]", tokens["input_ids"])]
    rng = random.Random(derive_seed(seed, "sft"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    model.train()
    queue: list[int] = []
    for _ in range(num_examples // batch_size):
        while len(queue) < batch_size:
            queue += rng.sample(range(len(prompts)), len(prompts))
        chosen, queue = queue[:batch_size], queue[batch_size:]
        batch = pad_batch(
            [(prompts[index], completions[index]) for index in chosen],
            pad_token_id=cast("int", tokenizer.pad_token_id),
        )
        logprobs = completion_logprobs(model, batch, temperature=1.0)
        loss = -(logprobs * batch.completion_mask).sum() / batch.completion_mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
