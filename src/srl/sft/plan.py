"""Which examples make an update, in which rows they are computed, and at what learning rate. No torch here.

The decision a reader would question: TRL packs a data set before it is trained on, so that an update is so many packed
*rows* and nobody knows how many examples. Here an update's examples are drawn first, exactly ``batch_size`` of them,
and packed then. Packing is so a matter of speed and memory and never changes what an update learns.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from srl.seeds import derive_seed
from srl.training_config import SFTConfig

MicroBatch = list[int]
"""Examples, by their places, that are computed in one forward and backward pass."""


def count_draws(learned: Sequence[int], settings: SFTConfig) -> int:
    """How many examples a stage sees, repeats counted; ``learned`` are the tokens that each example teaches.

    >>> count_draws([8, 12], SFTConfig(num_epochs=3)), count_draws([8, 12], SFTConfig(num_epochs=3, num_tokens=40))
    (6, 4)
    """
    draws = len(learned) * settings.num_epochs
    if settings.num_examples:
        draws = min(draws, settings.num_examples)
    if settings.num_tokens:
        draws = min(draws, max(1, round(settings.num_tokens * len(learned) / sum(learned))))
    return draws


def draw_updates(num_examples: int, *, num_draws: int, batch_size: int, seed: int) -> list[list[int]]:
    """The examples of every update: epoch after epoch, each in an order of its own. Only the last one may be smaller.

    >>> draw_updates(3, num_draws=5, batch_size=2, seed=0)
    [[0, 1], [2, 2], [1]]
    """
    order: list[int] = []
    epoch = 0
    while len(order) < num_draws:
        rng = random.Random(derive_seed(seed, "sft", epoch))
        order += rng.sample(range(num_examples), num_examples)
        epoch += 1
    return [order[start : min(start + batch_size, num_draws)] for start in range(0, num_draws, batch_size)]


def split(chosen: Sequence[int], lengths: Sequence[int], *, max_tokens: int, packing: bool) -> list[MicroBatch]:
    """The examples ``chosen``, whose ``lengths`` are in tokens, as micro-batches of at most ``max_tokens``.

    ``packing``: one row each, filled by best fit, the longest first; else padded rows, of which the padding counts.
    A longer example is a micro-batch of its own.

    >>> split([0, 1, 2, 3], [5, 3, 2, 6], max_tokens=8, packing=True)
    [[3, 2], [0, 1]]
    >>> split([0, 1, 2, 3], [5, 3, 2, 6], max_tokens=8, packing=False)
    [[3], [0], [1, 2]]
    """
    batches: list[MicroBatch] = []
    room: list[int] = []
    for place in sorted(chosen, key=lambda place: -lengths[place]):
        if packing:
            fits = [index for index, left in enumerate(room) if left >= lengths[place]]
            best = min(fits, key=room.__getitem__, default=None)
        else:
            is_full = not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > max_tokens
            best = None if is_full else len(batches) - 1
        if best is None:
            batches.append([place])
            room.append(max_tokens - lengths[place])
        else:
            batches[best].append(place)
            room[best] -= lengths[place]
    return batches


def learning_rate(update: int, *, num_updates: int, warmup_updates: int, highest: float) -> float:
    """The rate of ``update``, counted from 1: up evenly over the warm-up, then down along a cosine.

    It is 0 before the first update and after the last one, so that none is made at a rate of 0.

    >>> [round(learning_rate(update, num_updates=5, warmup_updates=2, highest=9.0), 2) for update in range(1, 7)]
    [3.0, 6.0, 9.0, 6.75, 2.25, 0.0]
    """
    if update <= warmup_updates:
        return highest * update / (warmup_updates + 1)
    progress = (update - 1 - warmup_updates) / (num_updates - warmup_updates)
    return highest * 0.5 * (1 + math.cos(math.pi * progress))
