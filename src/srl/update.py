"""Kept groups and advantages -> one gradient -> new weights.

The rollouts of an update are cut into micro-batches of a number of tokens. Each micro-batch contributes its part of
one sum that is divided by numbers of the whole update over all processes (rollouts, tokens: ``loss.Divisor``), so the
cut, the layout, padding, order of groups and number of processes do not change the gradient.

What is computed and when: reference log-probabilities only with a KL term, old ones only when the update makes more
than one pass over its batch (with one pass they are the policy's own) or was sampled by an older policy.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srl.compute_config import TrainerConfig
from srl.errors import SRLError
from srl.logprobs import PackedBatch, TokenBatch, completion_logprobs, pack_batch, packed_logprobs, pad_batch
from srl.loss import Divisor, policy_loss
from srl.metrics import Metrics
from srl.micro_batches import Layout, TrainingRow, choose_layout, cut, num_computed, own_share, training_rows
from srl.model_support import examine
from srl.packing.attention import packed
from srl.policy import Precision, autocast
from srl.training_config import LossConfig, OptimizerConfig
from srl.types import RolloutGroup


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows as tensors, with the log-probabilities that stay fixed during the update."""

    tokens: TokenBatch | PackedBatch
    advantages: Tensor
    """[batch] float32."""
    is_stale: Tensor
    """[batch] True where an older policy sampled the row."""
    rollout_logprobs: Tensor | None
    """[batch, completion], 0 in rows of which the engine did not say; None where it said of none."""
    is_comparable: Tensor
    """[batch] True where the engine said the log-probabilities and this policy sampled the row."""
    old_logprobs: Tensor | None
    """[batch, completion], None when the update makes one pass: the policy's own are the old ones then."""
    reference_logprobs: Tensor | None
    """[batch, completion], None without a KL term."""

    def ratio_base(self, policy_logprobs: Tensor) -> Tensor:
        """[batch, completion] what the ratio of the objective compares with."""
        old = policy_logprobs.detach() if self.old_logprobs is None else self.old_logprobs
        if self.rollout_logprobs is None:
            return old
        return torch.where(self.is_stale[:, None], self.rollout_logprobs, old)


class Sums:
    """What this process adds up over its micro-batches."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.values = torch.zeros(4, dtype=torch.float64)
        """Loss, clipped tokens, KL to the reference, KL of rollouts to policy."""
        self.seconds = {"forward": 0.0, "backward": 0.0, "optimizer": 0.0}
        self._last = time.perf_counter()

    def lap(self, name: str | None = None) -> None:
        """Count the time since the last lap as ``name``'s."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if name is not None:
            self.seconds[name] += now - self._last
        self._last = now


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
        trainer: TrainerConfig,
        precision: Precision,
        temperature: float,
        pad_token_id: int,
        reference: nn.Module | None,
        max_completion_tokens: int | None = None,
    ) -> None:
        """``max_completion_tokens`` is needed by ``loss.divide_by = "constant"`` alone."""
        self._model = model
        self._optimizer = optimizer
        self._accelerator = accelerator
        self._loss = loss
        self._optimization = optimization
        self._trainer = trainer
        self._precision: Precision = precision
        self._temperature = temperature
        self._pad_token_id = pad_token_id
        self._reference = reference
        self._max_completion_tokens = max_completion_tokens
        packs = trainer.prefix_sharing != "off"
        self._support = examine(cast("Any", accelerator.unwrap_model(model)), tries_packing=packs)
        self._heads = {id(model): self._support.head}
        if reference is not None:
            self._heads[id(reference)] = examine(cast("Any", reference), tries_packing=False).head

    def update(
        self,
        groups: Sequence[RolloutGroup],
        advantages: Sequence[Sequence[float]],
        update: int,
        *,
        off_policy: Sequence[bool] | None = None,
    ) -> Metrics:
        """Train on the groups; ``update`` counts from 1 and decides the learning rate.

        ``off_policy`` says of each group whether an older policy sampled it; such a group needs rollout logprobs.
        """
        rows = training_rows(groups, advantages, off_policy)
        # Of all rows, not of this process's: an error of one process would leave the others waiting.
        if any(row.is_stale and row.rollout_logprobs is None for row in rows):
            raise SRLError("sampling.max_staleness needs an engine that returns the log-probabilities of its rollouts")
        divisor = Divisor(
            by=self._loss.divide_by,
            num_rollouts=len(rows),
            num_tokens=sum(len(row.completion_ids) for row in rows),
            max_completion_tokens=self._max_completion_tokens,
        )
        sharing = self._trainer.prefix_sharing if self._support.packs else "off"
        layout = choose_layout(rows, sharing, window=self._support.max_length)
        own = self._own_rows(rows, layout)
        chunks = cut(own, layout, max_tokens=self._trainer.max_tokens_per_micro_batch)
        sums = Sums(self._accelerator.device)
        self._set_learning_rate(update)
        self._model.train()
        norms: list[float] = []
        is_packed = layout != "padded"
        with packed(self._model) if is_packed else contextlib.nullcontext():
            with packed(self._reference) if is_packed and self._reference else contextlib.nullcontext():
                micro_batches = [self._micro_batch(chunk, layout) for chunk in chunks]
            sums.lap("forward")  # of the fixed log-probabilities
            for _ in range(self._optimization.passes_per_batch):
                self._accumulate(micro_batches, sums, divisor)
                norms.append(self._step(update))
                sums.lap("optimizer")
        return self._metrics(rows, own, chunks, layout, sums) | {"optimizer/grad_norm": math.fsum(norms) / len(norms)}

    def _own_rows(self, rows: Sequence[TrainingRow], layout: Layout) -> list[TrainingRow]:
        num_processes = self._accelerator.num_processes
        if len(rows) < num_processes:
            raise SRLError(f"{len(rows)} rollouts cannot be spread over {num_processes} processes; use fewer processes")
        return own_share(rows, layout, process_index=self._accelerator.process_index, num_processes=num_processes)

    def _set_learning_rate(self, update: int) -> None:
        warmup = self._optimization.warmup_updates
        scale = min(1.0, update / warmup) if warmup else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._optimization.learning_rate * scale

    def _micro_batch(self, rows: Sequence[TrainingRow], layout: Layout) -> MicroBatch:
        device = self._accelerator.device
        pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
        tokens = (
            pad_batch(pairs, pad_token_id=self._pad_token_id, device=device)
            if layout == "padded"
            else pack_batch(pairs, across_prompts=layout == "packed", device=device)
        )
        several_passes = self._optimization.passes_per_batch > 1
        return MicroBatch(
            tokens=tokens,
            advantages=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
            is_stale=torch.tensor([row.is_stale for row in rows], device=device),
            rollout_logprobs=_rollout_logprobs(rows, tokens.completion_mask),
            is_comparable=torch.tensor([row.is_comparable for row in rows], device=device),
            old_logprobs=self._fixed_logprobs(self._model, tokens) if several_passes else None,
            reference_logprobs=self._fixed_logprobs(self._reference, tokens) if self._reference is not None else None,
        )

    @torch.no_grad()
    def _fixed_logprobs(self, model: nn.Module, tokens: TokenBatch | PackedBatch) -> Tensor:
        return self._logprobs(model, tokens)

    def _logprobs(self, model: nn.Module, tokens: TokenBatch | PackedBatch) -> Tensor:
        head = self._heads[id(model)]
        with autocast(self._accelerator.device, self._precision):
            if isinstance(tokens, PackedBatch):
                return packed_logprobs(model, tokens, temperature=self._temperature, head=head)
            return completion_logprobs(model, tokens, temperature=self._temperature, head=head)

    def _accumulate(self, micro_batches: Sequence[MicroBatch], sums: Sums, divisor: Divisor) -> None:
        """Backward over all micro-batches."""
        for index, batch in enumerate(micro_batches):
            is_last = index == len(micro_batches) - 1
            # Gradients travel between processes once, with the last micro-batch.
            with contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._model):  # pyright: ignore
                logprobs = self._logprobs(self._model, batch.tokens)
                parts = policy_loss(
                    logprobs,
                    batch.ratio_base(logprobs),
                    batch.advantages,
                    batch.tokens.completion_mask,
                    divisor=divisor,
                    clip_low=self._loss.clip_low,
                    clip_high=self._loss.clip_high,
                    ratio=self._loss.ratio,
                    surrogate=self._loss.surrogate,
                    beta=self._loss.beta,
                    reference_logprobs=batch.reference_logprobs,
                )
                sums.lap("forward")
                # Data-parallel training averages the gradients of the processes; the loss is a sum over them.
                self._accelerator.backward(parts.loss * self._accelerator.num_processes)
                sums.lap("backward")
            drift = _drift(batch, logprobs.detach())
            sums.values += torch.stack([parts.loss.detach(), parts.num_clipped, parts.kl_sum, drift]).double().cpu()

    def _step(self, update: int) -> float:
        """Move the weights along the accumulated gradient; returns its norm before clipping."""
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), self._optimization.max_grad_norm)
        value = cast("Tensor", norm).item()
        if not math.isfinite(value):
            raise SRLError(
                f"update {update}: the gradient is not finite ({value}); it changed no weight. Lower the "
                "learning rate, or train in float32, and resume from the last checkpoint"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return value

    def _metrics(
        self,
        rows: Sequence[TrainingRow],
        own: Sequence[TrainingRow],
        chunks: Sequence[Sequence[TrainingRow]],
        layout: Layout,
        sums: Sums,
    ) -> Metrics:
        computed = sum(num_computed(chunk, layout) for chunk in chunks)
        asked = sum(row.num_tokens for row in own)
        counts = torch.tensor([computed, asked, len(chunks)], dtype=torch.float64)
        # float32, because not every device knows float64; nothing here needs more digits
        everything = torch.cat([sums.values, counts]).float().to(self._accelerator.device)
        total: list[float] = cast("Any", self._accelerator.reduce(everything, "sum")).tolist()
        loss, clipped, kl, drift, computed_by_all, asked_by_all, num_micro_batches = total
        num_passes = self._optimization.passes_per_batch
        num_tokens = sum(len(row.completion_ids) for row in rows)
        metrics: Metrics = {
            "loss/policy": loss / num_passes,
            "loss/clip_rate": clipped / (num_passes * num_tokens),
            "optimizer/learning_rate": float(self._optimizer.param_groups[0]["lr"]),
            "update/num_micro_batches": int(num_micro_batches),
            "update/computed_rate": computed_by_all / asked_by_all,
            **{f"time/{name}_seconds": seconds for name, seconds in sums.seconds.items()},
        }
        if layout == "padded":
            metrics["update/padding_rate"] = 1 - asked_by_all / computed_by_all
        if self._reference is not None:
            metrics["loss/kl"] = kl / (num_passes * len(rows))
        num_compared = sum(len(row.completion_ids) for row in rows if row.is_comparable)
        if num_compared:
            metrics["kl/rollout_policy"] = drift / (num_passes * num_compared)
        return metrics


def _rollout_logprobs(rows: Sequence[TrainingRow], mask: Tensor) -> Tensor | None:
    """[batch, completion] of the rollouts, 0 outside the mask and where an engine did not say."""
    if all(row.rollout_logprobs is None for row in rows):
        return None
    flat = [value for row in rows for value in row.rollout_logprobs or [0.0] * len(row.completion_ids)]
    padded = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    return padded.masked_scatter(mask, torch.tensor(flat, dtype=torch.float32, device=mask.device))


def _drift(batch: MicroBatch, policy_logprobs: Tensor) -> Tensor:
    """[] sum over tokens of an estimate of KL(rollout || policy), of the rows that this policy sampled."""
    if batch.rollout_logprobs is None:
        return torch.zeros((), device=policy_logprobs.device)
    counted = batch.tokens.completion_mask & batch.is_comparable[:, None]
    difference = (policy_logprobs - batch.rollout_logprobs)[counted]
    return (difference.exp() - difference - 1).sum()  # unbiased, never negative (Schulman's k3)
