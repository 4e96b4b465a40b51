"""Every logged key with its definition, and the metrics of one update.

``docs/metrics.md`` is made from ``DEFINITIONS``; writing a key that is not in it is an error, so that none goes
undocumented.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from srl.advantage import reward_std
from srl.completion_rewards import ERROR
from srl.dynamic_sampling import CollectedGroups, is_graded
from srl.errors import SRLError
from srl.types import ParseStatus, RolloutGroup

DEFINITIONS: dict[str, str] = {
    "stage": "Name of the stage.",
    "update": "Optimizer update within the stage, from 1; 0 is the state before the first update.",
    "data/epoch": "Epochs of the training examples drawn so far.",
    "reward/mean": "Mean reward of the rollouts of kept and rejected groups, format penalties included.",
    "reward/std": "Population std of the same rewards.",
    "reward/group_std": "Mean over groups of the population std within the group.",
    "reward/outcome": "Mean outcome of the finished solutions; only with reward.outcome.",
    "reward/ungraded_rate": "Share of rollouts that could not be graded (deadline, crash, judge) and were left out.",
    "reward/error_rate": 'Share of rollouts whose reward raised and were left out; only with on_error = "drop".',
    "rollout/format_error_rate": "Share of rollouts that break the format for another reason than the token limit.",
    "rollout/truncated_rate": "Share of rollouts cut by max_completion_tokens.",
    "rollout/completion_tokens": "Mean number of sampled tokens of a rollout.",
    "rollout/monologue_characters": "Mean length of the text inside <think>.",
    "rollout/num_rollouts": "Rollouts sampled for the update, those of surplus groups included; "
    "unfinished groups are left out.",
    "rollout/sampled_tokens": "Tokens of all these rollouts, those that finished solutions for the outcome included.",
    "sampling/num_kept": "Groups trained on.",
    "sampling/num_carried": "Of these: groups sampled for an earlier update; only with sampling.max_staleness.",
    "sampling/num_rejected": "Groups at or under min_reward_std, or with too few graded rollouts; not trained on.",
    "sampling/num_ungraded": "Of these: groups with too few graded rollouts.",
    "sampling/num_surplus": "Kept groups beyond a full batch; their examples are drawn again first, unless "
    "sampling.max_staleness lets a later update have the groups.",
    "sampling/num_unfinished": "Examples whose groups were not known when the batch was full; they are drawn again "
    "first, and what was sampled of them is in no other count.",
    "sampling/kept_rate": "(kept + surplus) / (kept + surplus + rejected), of the groups sampled for the update.",
    "sampling/kept_by_format_only_rate": "Share of the kept groups whose well-formed rollouts alone are flat.",
    "sampling/reached_cap": "1 if the batch stayed short because max_draws was reached, else 0.",
    "sampling/problem_rate": "Share of whole problems among the kept groups; only with [interleave].",
    "sampling/own_steps_rate": "Share of the policy's own steps among the steps of the contexts drawn; only with "
    "prompt.own_steps.",
    "reward/problems": "Mean reward of the rollouts of whole problems; only with [interleave].",
    "selection/num_chosen": "Examples that the pass before the stage left to train on.",
    "selection/chosen_rate": "Their share of the examples; the rollouts of the pass stand in rollout/num_rollouts of "
    "update 0.",
    "signals/context_copy_rate": "Share of well-formed actions that nearly repeat an earlier step of the prompt and "
    "are closer to it than to the target; of the examples with earlier steps.",
    "signals/several_steps_rate": "Share of well-formed actions that hold the target and the expert's next step; of "
    "the examples whose next step is known.",
    "signals/duplicate_rate": "Share of well-formed actions that are equal to another one of their group.",
    "signals/reward_length_correlation": "Spearman's rank correlation of action length and reward within a group, mean "
    "over the groups in which both differ.",
    "signals/length_ratio": "Median of action length over target length; not in rlvr stages.",
    "signals/autojunk_rate": "Share of well-formed actions compared with a second text of 200 characters or more, of "
    "which autojunk drops frequent letters; only with reward.autojunk.",
    "loss/policy": "Loss of the update (Eq. 1 by default), mean over the optimizer updates made on the batch.",
    "loss/clip_rate": "Share of completion tokens at which clipping changed the product of ratio and advantage.",
    "loss/kl": "Mean over rollouts of the mean KL to the reference; only with loss.beta above 0.",
    "kl/rollout_policy": "Mean over tokens of the KL estimate between the engine's log-probabilities and the policy's "
    "recomputed ones; float error alone where they are the same weights. Only from engines that say theirs.",
    "optimizer/grad_norm": "Norm of the gradient before clipping, mean over the updates made on the batch.",
    "optimizer/learning_rate": "Learning rate of the last of these updates, read back from the optimizer.",
    "sft/loss": "Mean negative log-probability of the tokens of the update's completions; only in sft stages, as are "
    "the next three.",
    "sft/num_examples": "Examples learned from so far, repeats counted.",
    "sft/num_tokens": "Tokens of their prompts and completions.",
    "sft/num_learned_tokens": "Tokens of their completions.",
    "update/num_micro_batches": "Forward and backward passes of the update, all processes together.",
    "update/computed_rate": "Tokens computed over tokens of prompts and completions: below 1 where sequences share "
    "what they begin with, above 1 with padding.",
    "update/padding_rate": "Share of the computed tokens that were padding; only where rows are padded.",
    "validation/reward": "Mean reward of greedy completions on the validation examples; selects the best checkpoint.",
    "validation/exact_match": "Share of greedy completions with reward 1; under the paper's, equal to the target.",
    "validation/ungraded_rate": "Share of greedy completions that could not be graded; the rates above leave them out.",
    "validation/format_error_rate": "Share of greedy completions that break the format or are truncated.",
    "validation/loss": "sft/loss of the validation examples; the lowest selects the best checkpoint of an sft stage.",
    "validation/whole_accuracy": "Share of validation problems that are solved greedily in one completion.",
    "validation/stepwise_accuracy": "Share of validation problems that are solved greedily step by step.",
    "time/rollout_seconds": "Wall time of sampling and scoring.",
    "time/reward_seconds": "Of these: how long sampling stood still until rewards were there.",
    "time/update_seconds": "Wall time of forward, backward and optimizer.",
    "time/forward_seconds": "Of the update: forward passes and loss, fixed log-probabilities included.",
    "time/backward_seconds": "Of the update: backward passes.",
    "time/optimizer_seconds": "Of the update: clipping the gradient and moving the weights.",
    "time/validation_seconds": "Wall time of the validation.",
}

Metrics = dict[str, float | int | str]


def check_keys(metrics: Mapping[str, object]) -> None:
    """Raises SRLError for a key without a definition."""
    unknown = sorted(set(metrics) - set(DEFINITIONS))
    if unknown:
        raise SRLError(f"metrics without a definition in srl/metrics.py: {', '.join(unknown)}")


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; NaN for nothing, which JSON writers must leave out."""
    return math.fsum(values) / len(values) if values else math.nan


def sampling_metrics(collected: CollectedGroups) -> Metrics:
    """Metrics of one update's rollouts."""
    groups = collected.groups
    rollouts = [rollout for group in groups for rollout in group.sampled]
    rewards = [reward for group in groups for reward in group.rewards]
    statuses = [rollout.parsed.status for rollout in rollouts]
    fresh = collected.fresh
    sampled = [rollout for group in fresh for rollout in group.sampled]
    well_formed = {ParseStatus.OK, ParseStatus.TRUNCATED}
    reasons = [rollout.reason for group in groups for rollout in group.ungraded]
    outcomes = [rollout.outcome for group in groups for rollout in group.rollouts if rollout.outcome is not None]
    metrics: Metrics = {
        "reward/mean": mean(rewards),
        "reward/std": reward_std(rewards),
        "reward/group_std": mean([reward_std(group.rewards) for group in groups]),
        "reward/ungraded_rate": (len(reasons) - reasons.count(ERROR)) / max(1, len(rollouts)),
        "reward/error_rate": reasons.count(ERROR) / max(1, len(rollouts)),
        "rollout/format_error_rate": mean([status not in well_formed for status in statuses]),
        "rollout/truncated_rate": mean([status is ParseStatus.TRUNCATED for status in statuses]),
        "rollout/completion_tokens": mean([len(rollout.completion.token_ids) for rollout in rollouts]),
        "rollout/monologue_characters": mean([len(rollout.parsed.monologue) for rollout in rollouts]),
        "rollout/num_rollouts": len(sampled),
        "rollout/sampled_tokens": sum(
            len(rollout.completion.token_ids) + rollout.num_finishing_tokens for rollout in sampled
        ),
        "sampling/num_kept": len(collected.kept),
        "sampling/num_carried": collected.num_carried,
        "sampling/num_rejected": len(collected.rejected),
        "sampling/num_ungraded": sum(not is_graded(group) for group in collected.rejected),
        "sampling/num_surplus": len(collected.surplus),
        "sampling/num_unfinished": len(collected.unfinished),
        "sampling/kept_rate": 1 - len(collected.rejected) / len(fresh) if fresh else math.nan,
        "sampling/kept_by_format_only_rate": (
            collected.num_kept_by_format_only / len(collected.kept) if collected.kept else 0.0
        ),
        "sampling/reached_cap": int(collected.reached_cap),
    }
    if outcomes:
        metrics["reward/outcome"] = mean(outcomes)
    if any(group.example.is_problem for group in groups):
        metrics["sampling/problem_rate"] = mean([group.example.is_problem for group in collected.kept])
        metrics["reward/problems"] = mean(
            [reward for group in groups if group.example.is_problem for reward in group.rewards]
        )
    return metrics


def validation_metrics(groups: Sequence[RolloutGroup]) -> Metrics:
    """Metrics of greedy completions, one per group; where not one of them is graded, that is all there is to say."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    if not rollouts:
        return {"validation/ungraded_rate": 1.0}
    return {
        "validation/ungraded_rate": 1 - len(rollouts) / len(groups),
        "validation/reward": mean([rollout.reward for rollout in rollouts]),
        "validation/exact_match": mean([rollout.reward == 1.0 for rollout in rollouts]),
        "validation/format_error_rate": mean([rollout.parsed.status is not ParseStatus.OK for rollout in rollouts]),
    }
