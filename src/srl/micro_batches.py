"""Rollouts -> micro-batches of a given number of tokens, and each process's share of them.

What counts is what is computed: for packed rows every shared beginning once, for padded ones rows times the longest.
Packed rows are put together in the order of their prompts' tokens, which brings equal prompts and those of one
trajectory side by side whatever the chat template; padded ones by length, which keeps the padding small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from srl.packing.tree import num_new_tokens
from srl.types import RolloutGroup

Layout = Literal["packed", "packed_by_group", "padded"]
"""See srl.logprobs; by group, a prompt is shared by its own completions only."""


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One rollout as the update needs it."""

    prompt_ids: tuple[int, ...]
    """The rendered prompt."""
    completion_ids: tuple[int, ...]
    """The sampled tokens, at least one."""
    advantage: float
    """Of this rollout within its group."""
    rollout_logprobs: tuple[float, ...] | None = None
    """Of the sampled tokens when they were sampled; None from engines that do not say."""
    is_stale: bool = False
    """Sampled by an older policy: the ratio of the objective compares with ``rollout_logprobs``."""

    @property
    def is_comparable(self) -> bool:
        """Whether the rollout's log-probabilities are known and this policy's own."""
        return self.rollout_logprobs is not None and not self.is_stale

    @property
    def num_tokens(self) -> int:
        """Prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


def training_rows(
    groups: Sequence[RolloutGroup],
    advantages: Sequence[Sequence[float]],
    off_policy: Sequence[bool] | None = None,
) -> list[TrainingRow]:
    """One row per rollout."""
    stale = off_policy or [False] * len(groups)
    return [
        TrainingRow(
            prompt_ids=group.prompt_token_ids,
            completion_ids=rollout.completion.token_ids,
            advantage=advantage,
            rollout_logprobs=rollout.completion.logprobs,
            is_stale=is_stale,
        )
        for group, group_advantages, is_stale in zip(groups, advantages, stale, strict=True)
        for rollout, advantage in zip(group.rollouts, group_advantages, strict=True)
    ]


def choose_layout(
    rows: Sequence[TrainingRow], sharing: Literal["auto", "group", "off"], *, window: int | None
) -> Layout:
    """How the rows of an update are laid out; rows longer than the model's ``window`` cannot share beginnings."""
    if sharing == "off" or (window is not None and max(row.num_tokens for row in rows) > window):
        return "padded"
    return "packed" if sharing == "auto" else "packed_by_group"


def own_share(
    rows: Sequence[TrainingRow], layout: Layout, *, process_index: int, num_processes: int
) -> list[TrainingRow]:
    """This process's rows, in the order in which ``cut`` takes them; every process gets about as many tokens.

    There must be a row for every process.
    """
    if layout == "padded":
        return sorted(rows, key=lambda row: -row.num_tokens)[process_index::num_processes]
    # Rows of one prompt belong together, so the shares are runs; a row for each of the later processes is left over.
    ordered = sorted(rows, key=lambda row: row.prompt_ids)
    costs = _packed_costs(ordered, layout)
    cuts, done, total = [0], 0, sum(costs)
    for place, cost in enumerate(costs):
        share = len(cuts)
        has_enough = done >= total * share / num_processes or len(ordered) - place == num_processes - share
        if share < num_processes and place > cuts[-1] and has_enough:
            cuts.append(place)
        done += cost
    cuts.append(len(ordered))
    return ordered[cuts[process_index] : cuts[process_index + 1]]


def cut(rows: Sequence[TrainingRow], layout: Layout, *, max_tokens: int) -> list[list[TrainingRow]]:
    """Rows in the order of ``own_share`` as micro-batches of at most ``max_tokens``, the largest first.

    A batch that does not fit into memory then fails at once. A row of more than ``max_tokens`` is one by itself.
    """
    batches: list[list[TrainingRow]] = []
    size = max_tokens + 1
    for row in rows:
        if not batches:
            grown = size
        elif layout == "padded":
            grown = num_computed([*batches[-1], row], layout)
        else:
            grown = size + _new_tokens(row, batches[-1][-1], layout) + len(row.completion_ids)
        if grown > max_tokens:
            batches.append([row])
            size = row.num_tokens
        else:
            batches[-1].append(row)
            size = grown
    return sorted(batches, key=lambda batch: -num_computed(batch, layout))


def num_computed(rows: Sequence[TrainingRow], layout: Layout) -> int:
    """Tokens that the forward pass of a micro-batch of these rows computes, padding included."""
    if layout == "padded":
        longest_prompt = max(len(row.prompt_ids) for row in rows)
        return len(rows) * (longest_prompt + max(len(row.completion_ids) for row in rows))
    return sum(_packed_costs(sorted(rows, key=lambda row: row.prompt_ids), layout))


def _packed_costs(ordered: Sequence[TrainingRow], layout: Layout) -> list[int]:
    """What each row adds to the one before it."""
    new = [len(ordered[0].prompt_ids)] if ordered else []
    new += [_new_tokens(row, before, layout) for before, row in pairwise(ordered)]
    return [prompt + len(row.completion_ids) for prompt, row in zip(new, ordered, strict=True)]


def _new_tokens(row: TrainingRow, before: TrainingRow, layout: Layout) -> int:
    """What the row's prompt adds behind a row that comes before it in order."""
    if layout == "packed":
        return num_new_tokens(row.prompt_ids, before.prompt_ids)
    return 0 if row.prompt_ids == before.prompt_ids else len(row.prompt_ids)
