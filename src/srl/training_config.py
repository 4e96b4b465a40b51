"""The settings of a stage that say how it samples, what it minimizes, and for how long; ``config.py`` has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from srl.errors import require


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Rollouts and dynamic sampling."""

    group_size: int = 8
    """Rollouts per prompt (G)."""
    groups_per_update: int = 512
    """Kept groups that make one batch. Table 8: 512 for SRL; Table 7: 128 for RLVR."""
    temperature: float = 1.0
    """Sampling temperature of the rollouts."""
    max_completion_tokens: int = 2048  # Paper: gives no limit on the length of completions.
    """Longer completions are cut and count as truncated. Not given in the paper; ours."""
    overlong_tokens: int = 0
    """DAPO's soft penalty: a completion that comes within so many tokens of `max_completion_tokens` loses up to 1 of \
its reward, evenly with its length; one that is cut loses 1. 0: off. Ours."""
    engine_batch_size: int = 64
    """Sequences that the transformers engine samples at a time. Changes memory and speed, and a little which \
examples are drawn again after a full batch. Ours."""
    dynamic: bool = True
    """Dynamic sampling: train only on groups whose rewards differ, and draw more prompts until the batch is full. \
False trains on every group (the ablation of Table 2)."""
    min_reward_std: float = 0.01  # Paper: 4.2 asks for a threshold above 0 and gives no value.
    """A group is kept when the population standard deviation of its rewards is above this. The paper says only that \
it is positive; the value is ours. 0 keeps every group that is not exactly flat."""
    max_draws: int = 8  # Paper: 4.2 draws until the batch is full, without a cap.
    """Cap of the refill: at most this many times `groups_per_update` prompts are drawn for one update. Ours."""
    max_staleness: int = 0  # Paper: 4.2 does not say what becomes of kept groups beyond a full batch.
    """Kept groups beyond a full batch are trained on by one of the next so many updates instead of being rolled out \
afresh; the ratio of the objective then compares with the log-probabilities of the rollout. At every \
`save_every`-th update they are given up, so that resuming is exact; the checkpoint at the end of a stage is outside \
this promise. 0: every group is of the policy that it trains. Ours."""

    def __post_init__(self) -> None:
        require(self.group_size >= 2, "sampling.group_size must be at least 2: one rollout has no advantage")
        require(self.groups_per_update >= 1, "sampling.groups_per_update must be at least 1")
        require(self.temperature > 0, "sampling.temperature must be above 0: greedy rollouts are all the same")
        require(self.max_completion_tokens >= 1, "sampling.max_completion_tokens must be at least 1")
        require(
            0 <= self.overlong_tokens < self.max_completion_tokens,
            "sampling.overlong_tokens must be at least 0 and below max_completion_tokens",
        )
        require(self.min_reward_std >= 0, "sampling.min_reward_std must be at least 0; dynamic = false keeps all")
        require(self.max_staleness >= 0, "sampling.max_staleness must be at least 0")
        unused = self.min_reward_std != 0.01 or self.max_draws != 8 or self.max_staleness != 0
        require(
            self.dynamic or not unused,
            "min_reward_std, max_draws and max_staleness have no effect with dynamic = false",
        )
        require(self.max_draws >= 1, "sampling.max_draws must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The objective: Eq. 1, and what later work divides, clips and weights otherwise (docs/methods/losses.md)."""

    divide_by: Literal["sequence", "tokens", "constant"] = "sequence"
    """What the sum over tokens is divided by. sequence: each rollout by its own tokens (GRPO, the paper). tokens: all \
by the tokens of the update (DAPO). constant: all by `max_completion_tokens` (Dr. GRPO)."""
    ratio: Literal["token", "sequence"] = "token"
    """What the ratio to the old policy is of: each token, or the geometric mean of a whole completion (GSPO)."""
    surrogate: Literal["clip", "cispo"] = "clip"
    """clip: the smaller of the clipped and unclipped product (PPO). cispo: the clipped ratio is a weight without \
gradient of the log-probability, so that no token falls silent."""
    scale_by_std: bool = True
    """Divide advantages by the standard deviation of their group; False is Dr. GRPO's."""

    clip_low: float = 0.2  # Paper: Eq. 1 clips by the same amount on both sides; two settings here.
    """The ratio is clipped below at 1 - clip_low. Without effect (an error if changed) with surrogate = "cispo"."""
    clip_high: float = 0.2
    """The ratio is clipped above at 1 + clip_high."""
    beta: float = 0.0
    """Weight of the KL divergence to the reference, the policy at the start of the stage. 0 loads no reference."""

    def __post_init__(self) -> None:
        require(0 < self.clip_low <= 1, "loss.clip_low must be in (0, 1]")
        require(self.clip_high > 0, "loss.clip_high must be above 0")
        require(self.beta >= 0, "loss.beta must be at least 0")
        require(
            self.ratio == "token" or self.surrogate == "clip",
            'loss.surrogate = "cispo" weights tokens one by one; it needs ratio = "token"',
        )
        require(
            self.clip_low == 0.2 or self.surrogate == "clip",
            'loss.clip_low has no effect with surrogate = "cispo": its weight is bounded above only; remove it',
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW."""

    learning_rate: float = 5e-7
    """Constant after the warm-up."""
    warmup_updates: int = 0
    """Updates over which the learning rate rises linearly from 0."""
    weight_decay: float = 0.0  # Paper: gives no weight decay.
    """Decoupled weight decay. Not given in the paper; ours."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this norm."""
    passes_per_batch: int = 1
    """Optimizer updates made on each batch of rollouts. From the second on the ratio differs from 1 and the clipping \
bites."""

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate must be above 0")
        require(self.warmup_updates >= 0, "optimizer.warmup_updates must be at least 0")
        require(self.weight_decay >= 0, "optimizer.weight_decay must be at least 0")
        require(self.max_grad_norm > 0, "optimizer.max_grad_norm must be above 0")
        require(self.passes_per_batch >= 1, "optimizer.passes_per_batch must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long a stage runs and how often it validates and saves."""

    num_epochs: int = 30
    """The stage ends when the training examples have been drawn this often."""
    num_updates: int = 0
    """The stage ends after this many updates if that comes first. 0: no such limit."""
    max_rollouts: int = 0
    """The stage ends once this many rollouts have been sampled, for comparisons at equal budget. 0: no such limit."""
    max_sampled_tokens: int = 0
    """The same in sampled tokens."""
    max_seconds: float = 0.0
    """The same in seconds of sampling and updates, without validation. Such a run cannot be repeated exactly."""
    validate_every: int = 10
    """Updates between validations; the best checkpoint by validation reward is what the stage hands on."""
    num_validation_examples: int = 256  # Paper: 4.2 names no limit; ours bounds the time.
    """Validation examples scored each time (the first ones of the held-out trajectories)."""
    num_validation_problems: int = 0
    """At each validation so many of the held-out problems are also solved, greedily, in one completion and step by \
step. 0: none. Ours."""
    max_solution_tokens: int = 0
    """Longest whole solution when these are solved in one completion; a step is much shorter. 0: \
`sampling.max_completion_tokens`. Ours."""
    best_by: Literal["reward", "whole", "stepwise"] = "reward"
    """By what the best checkpoint is chosen: the mean reward of greedy actions, or the share of validation problems \
that are solved in one completion or step by step. Ours."""
    save_every: int = 10
    """Updates between resumable checkpoints; the last one is kept."""
    rollouts_saved: int = 4
    """Groups of each update that are written to rollouts/ for the report."""

    def __post_init__(self) -> None:
        require(self.num_epochs >= 1, "schedule.num_epochs must be at least 1")
        require(self.num_updates >= 0, "schedule.num_updates must be at least 0")
        require(self.max_rollouts >= 0, "schedule.max_rollouts must be at least 0")
        require(self.max_sampled_tokens >= 0, "schedule.max_sampled_tokens must be at least 0")
        require(self.max_seconds >= 0, "schedule.max_seconds must be at least 0")
        require(self.num_validation_problems >= 0, "schedule.num_validation_problems must be at least 0")
        require(self.max_solution_tokens >= 0, "schedule.max_solution_tokens must be at least 0")
        require(
            (self.best_by == "reward" and not self.max_solution_tokens) or self.num_validation_problems > 0,
            'schedule.max_solution_tokens and best_by = "whole" or "stepwise" need schedule.num_validation_problems',
        )
        require(self.validate_every >= 1, "schedule.validate_every must be at least 1")
        require(self.num_validation_examples >= 1, "schedule.num_validation_examples must be at least 1")
        require(self.save_every >= 1, "schedule.save_every must be at least 1")
        require(self.rollouts_saved >= 0, "schedule.rollouts_saved must be at least 0")

    def used_share(self, spent: Sequence[float], before: Sequence[float]) -> float:
        """How much of the tightest limit is used; from 1 on the stage is done. 0 without a limit.

        ``spent`` are updates, rollouts, sampled tokens and seconds; ``before`` is what was spent of them before the
        first update, which counts to the limits, but is no part of the stage's way from 0 to 1.
        """
        limits = (self.num_updates, self.max_rollouts, self.max_sampled_tokens, self.max_seconds)
        shares = (
            (now - then) / (limit - then) if limit > then else 1.0
            for now, then, limit in zip(spent, before, limits, strict=True)
            if limit
        )
        return max(shares, default=0.0)


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Supervised fine-tuning, the baseline: next-token prediction on the expert's text, with Table 6's settings."""

    teach: Literal["solution", "trace", "steps"] = "solution"
    """What is learned. solution: the expert's steps, as one text ("outline" in the paper). trace: the expert's \
thinking in `<think>`, then the solution. steps: each step by itself, from the prompt that SRL asks it with; for \
agents the next action, after its thought where the log has one."""
    batch_size: int = 64
    """Examples per update."""
    learning_rate: float = 5e-6
    """AdamW's highest rate: it rises over the warm-up and falls along a cosine to 0."""
    warmup_share: float = 0.3
    """Share of the updates that are warm-up."""
    num_epochs: int = 3
    """How often every example is seen."""
    num_examples: int = 0
    """The stage ends after so many examples, epochs or not, for comparisons at equal budget. 0: no such limit."""
    num_tokens: int = 0
    """The same in learned tokens, those of the completions; whole examples of average length."""
    packing: bool = True
    """Put several examples into a row, where they do not see each other; else each is padded to the longest. What is \
learned is the same."""
    max_tokens: int = 0  # Paper: Table 6 gives no length.
    """Examples with more tokens are left out and counted. 0: the model's window. Ours."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_epochs"):
            require(getattr(self, name) >= 1, f"sft.{name} must be at least 1")
        require(self.learning_rate > 0, "sft.learning_rate must be above 0")
        require(0 <= self.warmup_share < 1, "sft.warmup_share must be in [0, 1)")
        require(self.num_examples >= 0, "sft.num_examples must be at least 0")
        require(self.num_tokens >= 0, "sft.num_tokens must be at least 0")
        require(self.max_tokens >= 0, "sft.max_tokens must be at least 0")
