"""Supervised fine-tuning on the expert's text, the baseline that ``srl quickstart --compare`` shows.

The same prompts as RLVR, the expert's solution as the completion, token-mean cross-entropy on the completion. The
expert gives actions and no thoughts, so the policy learns to stop thinking: that is the point of the comparison.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from srl.checkpoint import save_model
from srl.engines.transformers import end_token_ids, render
from srl.logprobs import completion_logprobs, pad_batch
from srl.policy import load_policy
from srl.prompts import PromptTexts, solve_prompt
from srl.seeds import derive_seed
from srl.types import Trajectory


def train_sft(
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
    """Train on ``num_examples`` solutions drawn epoch by epoch; returns ``output``, a model folder."""
    model, tokenizer = load_policy(model_path)
    rng = random.Random(derive_seed(seed, "sft"))
    end = end_token_ids(model, tokenizer)[-1:]
    pairs = [
        (
            _tokenize(tokenizer, render(solve_prompt(trajectory.problem, texts=texts), tokenizer)),
            _tokenize(tokenizer, trajectory.solution.strip()) + end,
        )
        for trajectory in trajectories
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    model.train()
    queue: list[int] = []
    for _ in range(num_examples // batch_size):
        while len(queue) < batch_size:
            queue += rng.sample(range(len(pairs)), len(pairs))
        batch = pad_batch([pairs[queue.pop(0)] for _ in range(batch_size)], pad_token_id=int(tokenizer.pad_token_id))
        logprobs = completion_logprobs(model, batch, temperature=1.0)
        loss = -(logprobs * batch.completion_mask).sum() / batch.completion_mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    save_model(output, model, tokenizer)
    return output


def _tokenize(tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
