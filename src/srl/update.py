"""Kept groups and advantages -> one gradient -> new weights.

The rollouts of an update are cut into micro-batches of similar length. Each micro-batch contributes its part of one
sum that is divided by the number of rollouts of the whole update over all processes, so micro-batch size, padding,
order of groups and number of processes do not change the gradient.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srl.config import LossConfig, OptimizerConfig
from srl.errors import SRLError
from srl.logprobs import TokenBatch, completion_logprobs, pad_batch
from srl.loss import policy_loss
from srl.metrics import Metrics
from srl.policy import Precision, autocast
from srl.types import RolloutGroup


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One rollout as the update needs it."""

    prompt_ids: tuple[int, ...]
    """The rendered prompt."""
    completion_ids: tuple[int, ...]
    """The sampled tokens, at least one."""
    advantage: float
    """Of this rollout within its group."""

    @property
    def num_tokens(self) -> int:
        """Prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows as tensors, with the log-probabilities that stay fixed during the update."""

    tokens: TokenBatch
    advantages: Tensor
    """[batch] float32."""
    old_logprobs: Tensor | None
    """[batch, completion], None when the update makes one pass: the policy's own are the old ones then."""
    reference_logprobs: Tensor | None
    """[batch, completion], None without a KL term."""


class PolicyUpdater:
    """Makes optimizer updates from groups."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        *,
        loss: LossConfig,
        optimization: OptimizerConfig,
        precision: Precision,
        temperature: float,
        pad_token_id: int,
        reference: nn.Module | None,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._accelerator = accelerator
        self._loss = loss
        self._optimization = optimization
        self._precision: Precision = precision
        self._temperature = temperature
        self._pad_token_id = pad_token_id
        self._reference = reference

    def update(self, groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]], update: int) -> Metrics:
        """Train on the groups; ``update`` counts from 1 and decides the learning rate."""
        rows = training_rows(groups, advantages)
        self._set_learning_rate(update)
        self._model.train()
        micro_batches = [self._micro_batch(chunk) for chunk in self._own_chunks(rows)]
        num_passes = self._optimization.passes_per_batch
        sums = torch.zeros(4, dtype=torch.float64)  # loss, clipped tokens, KL, grad norm
        for _ in range(num_passes):
            sums[:3] += self._accumulate(micro_batches, num_rollouts=len(rows))
            norm = self._accelerator.clip_grad_norm_(self._model.parameters(), self._optimization.max_grad_norm)
            norm_value = cast("Tensor", norm).item()
            if not math.isfinite(norm_value):
                raise SRLError(
                    f"update {update}: the gradient is not finite ({norm_value}); no weight was changed. Lower the "
                    "learning rate, or train in float32, and resume from the last checkpoint"
                )
            sums[3] += norm_value
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        total: Any = self._accelerator.reduce(sums[:3].float().to(self._accelerator.device), "sum")
        num_tokens = sum(len(row.completion_ids) for row in rows)
        metrics: Metrics = {
            "loss/policy": float(total[0]) / num_passes,
            "loss/clip_rate": float(total[1]) / (num_passes * num_tokens),
            "optimizer/grad_norm": float(sums[3]) / num_passes,
            "optimizer/learning_rate": float(self._optimizer.param_groups[0]["lr"]),
        }
        if self._reference is not None:
            metrics["loss/kl"] = float(total[2]) / (num_passes * len(rows))
        return metrics

    def _set_learning_rate(self, update: int) -> None:
        warmup = self._optimization.warmup_updates
        scale = min(1.0, update / warmup) if warmup else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._optimization.learning_rate * scale

    def _own_chunks(self, rows: Sequence[TrainingRow]) -> list[list[TrainingRow]]:
        """This process's rows, longest first (a batch too big for memory fails at once), cut into micro-batches."""
        num_processes = self._accelerator.num_processes
        if len(rows) < num_processes:
            raise SRLError(f"{len(rows)} rollouts cannot be spread over {num_processes} processes; use fewer processes")
        own = sorted(rows, key=lambda row: -row.num_tokens)[self._accelerator.process_index :: num_processes]
        size = self._optimization.micro_batch_size
        return [own[start : start + size] for start in range(0, len(own), size)]

    def _micro_batch(self, rows: Sequence[TrainingRow]) -> MicroBatch:
        device = self._accelerator.device
        tokens = pad_batch(
            [(row.prompt_ids, row.completion_ids) for row in rows], pad_token_id=self._pad_token_id, device=device
        )
        several_passes = self._optimization.passes_per_batch > 1
        return MicroBatch(
            tokens=tokens,
            advantages=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
            old_logprobs=self._fixed_logprobs(self._model, tokens) if several_passes else None,
            reference_logprobs=self._fixed_logprobs(self._reference, tokens) if self._reference is not None else None,
        )

    @torch.no_grad()
    def _fixed_logprobs(self, model: nn.Module, tokens: TokenBatch) -> Tensor:
        with autocast(self._accelerator.device, self._precision):
            return completion_logprobs(model, tokens, temperature=self._temperature)

    def _accumulate(self, micro_batches: Sequence[MicroBatch], *, num_rollouts: int) -> Tensor:
        """Backward over all micro-batches; returns [3]: this process's sums of loss, clipped tokens and KL."""
        sums = torch.zeros(3, dtype=torch.float64)
        for index, batch in enumerate(micro_batches):
            is_last = index == len(micro_batches) - 1
            # Gradients travel between processes once, with the last micro-batch.
            with contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._model):  # pyright: ignore
                with autocast(self._accelerator.device, self._precision):
                    logprobs = completion_logprobs(self._model, batch.tokens, temperature=self._temperature)
                parts = policy_loss(
                    logprobs,
                    logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs,
                    batch.advantages,
                    batch.tokens.completion_mask,
                    num_rollouts=num_rollouts,
                    clip_low=self._loss.clip_low,
                    clip_high=self._loss.clip_high,
                    beta=self._loss.beta,
                    reference_logprobs=batch.reference_logprobs,
                )
                # Data-parallel training averages the gradients of the processes; the loss is a sum over them.
                self._accelerator.backward(parts.loss * self._accelerator.num_processes)
            sums += torch.stack([parts.loss.detach(), parts.num_clipped, parts.kl_sum]).double().cpu()
        return sums


def training_rows(groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]]) -> list[TrainingRow]:
    """One row per rollout."""
    return [
        TrainingRow(prompt_ids=group.prompt_token_ids, completion_ids=rollout.completion.token_ids, advantage=advantage)
        for group, group_advantages in zip(groups, advantages, strict=True)
        for rollout, advantage in zip(group.rollouts, group_advantages, strict=True)
    ]
