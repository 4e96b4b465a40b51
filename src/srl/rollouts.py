"""Training examples -> engine -> completions -> rewards -> RolloutGroups, in a stream.

The decision a reader would question: rewards are computed in a thread while the engine goes on sampling. They come
from other processes, other threads or another machine, and a reward on the engine's own time would leave a GPU idle.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from srl.completion_rewards import (
    BackgroundScoring,
    Graded,
    Scoring,
    plain_rollout,
    refuse_a_dead_grader,
    weigh_with_outcomes,
)
from srl.engines import Engine, StreamingEngine
from srl.errors import SRLError
from srl.seeds import derive_seed
from srl.types import (
    ChatPrompt,
    Generation,
    Rollout,
    RolloutGroup,
    SamplingParams,
    TrainingExample,
    UngradedRollout,
)

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """Some groups of a stream."""

    groups: dict[int, RolloutGroup]
    """By the place of their example in the feed, from 0."""
    reward_seconds: float
    """How long the sampling stood still until their rewards were there."""


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """One prompt on its way to a group."""

    example: TrainingExample
    prompt_token_ids: tuple[int, ...]
    graded: list[Graded]


def roll_out(
    examples: Sequence[TrainingExample],
    engine: Engine,
    scoring: Scoring,
    *,
    group_size: int,
    sampling: SamplingParams,
    seed: int,
) -> list[RolloutGroup]:
    """Sample and score ``group_size`` completions for each example, in the order of the examples.

    Raises RewardError when a reward raises or is out of range (unless ``scoring.drop_errors``), and when nothing at
    all could be graded.
    """
    feed = iter(examples)
    parts = stream_groups(feed, engine, scoring, group_size=group_size, sampling=sampling, seed=seed, lag=math.inf)
    groups = {place: group for part in parts for place, group in part.groups.items()}
    ordered = [groups[place] for place in range(len(examples))]
    refuse_a_dead_grader(ordered)
    return ordered


def stream_groups(
    feed: Iterator[TrainingExample | None],
    engine: Engine,
    scoring: Scoring,
    *,
    group_size: int,
    sampling: SamplingParams,
    seed: int,
    lag: float = 1,
) -> Generator[RolledOut, None, None]:
    """Sample and score what ``feed`` gives; every example's group is in one of the parts.

    The feed is asked as ``StreamingEngine.stream`` says, where None means "nothing at the moment". An engine that
    takes lists, and one that must also finish solutions for an outcome, works in rounds: it takes all that the feed
    has, and asks again when the consumer has seen the groups. Closing the generator stops the sampling, cancels the
    rewards that have not been begun and waits for the call that is running, unless an error is on its way.

    Args:
        feed: the examples.
        engine: what samples.
        scoring: what rewards.
        group_size: completions for each example.
        sampling: how they are sampled.
        seed: decides all random choices.
        lag: of the parts that the engine hands over, how many may still wait for their rewards; infinite for feeds to
            which the groups make no difference. When a group is known thus depends on the order of the parts, never
            on how long a reward took.

    Raises:
        RewardError: a reward raised or is out of range, unless ``scoring.drop_errors``.
    """
    if scoring.gate is None:
        with closing(_scored(feed, engine, scoring, group_size, sampling, seed, lag)) as parts:
            for sampled, seconds in parts:
                groups = {place: _group(item, [*map(plain_rollout, item.graded)]) for place, item in sampled.items()}
                yield RolledOut(groups=groups, reward_seconds=seconds)
        return
    first = 0
    for number, examples in enumerate(rounds(feed)):
        round_seed = derive_seed(seed, number)
        parts = list(_scored(iter(examples), engine, scoring, group_size, sampling, round_seed, math.inf))
        by_place = {place: item for part, _ in parts for place, item in part.items()}
        sampled = [by_place[place] for place in range(len(examples))]
        graded = [one for item in sampled for one in item.graded]
        rollouts, seconds = weigh_with_outcomes(graded, scoring, scoring.gate, engine, round_seed)
        yield RolledOut(
            groups={
                first + place: _group(item, rollouts[place * group_size : (place + 1) * group_size])
                for place, item in enumerate(sampled)
            },
            reward_seconds=seconds + sum(waited for _, waited in parts),
        )
        first += len(examples)


def rounds(feed: Iterator[Item | None]) -> Iterator[list[Item]]:
    """What the feed gives until it says None, again and again.

    >>> list(rounds(iter([1, 2, None, 3])))
    [[1, 2], [3]]

    Raises SRLError when it says None at once: whoever asks has handed over everything by then.
    """
    while True:
        items: list[Item] = []
        has_more = False
        for item in feed:
            if item is None:
                has_more = True
                break
            items.append(item)
        if has_more and not items:
            raise SRLError("the feed has no example although nothing is being sampled")
        if items:
            yield items
        if not has_more:
            return


def _scored(
    feed: Iterator[TrainingExample | None],
    engine: Engine,
    scoring: Scoring,
    group_size: int,
    sampling: SamplingParams,
    seed: int,
    lag: float,
) -> Generator[tuple[dict[int, _Sampled], float], None, None]:
    """Prompts with their rewards by place, and the seconds waited for these; see ``stream_groups``."""
    taken: list[TrainingExample] = []

    def prompts() -> Iterator[ChatPrompt | None]:
        for example in feed:
            if example is not None:
                taken.append(example)
            yield None if example is None else example.prompt

    known: set[int] = set()
    waiting: deque[tuple[dict[int, Generation], Future[list[Graded]]]] = deque()
    background = BackgroundScoring(scoring)
    parts = _generate(engine, prompts(), num_samples=group_size, sampling=sampling, seed=seed)
    try:
        for part in parts:
            _check_part(part, known, group_size)
            known |= part.keys()
            if part:
                requests = [(completion, taken[place]) for place in part for completion in part[place].completions]
                waiting.append((part, background.submit(requests)))
            for _, future in waiting:
                if future.done():
                    future.result()  # a reward that has failed is raised now, and not after hours of sampling
            due = _oldest(waiting, lag if part else 0)
            if due:
                yield _resolve(due, taken, group_size)
        yield _resolve(waiting, taken, group_size)
        if len(known) < len(taken):
            raise SRLError(f"the engine took {len(taken)} prompts and handed over {len(known)}")
    finally:
        parts.close()
        background.close(wait=not _is_error_on_its_way())  # after an error or Ctrl-C a slow reward holds up nothing


def _oldest(waiting: deque[Item], num_left: float) -> list[Item]:
    """Takes the oldest, until no more than ``num_left`` are left."""
    taken: list[Item] = []
    while len(waiting) > num_left:
        taken.append(waiting.popleft())
    return taken


def _is_error_on_its_way() -> bool:
    """Whether the generator that asks is left by an error, its own or its consumer's, and not by a plain close."""
    error = sys.exc_info()[1]
    while isinstance(error, GeneratorExit):  # what closes a generator; its context is why the consumer closed it
        error = error.__context__
    return error is not None


def _check_part(part: Mapping[int, Generation], known: Set[int], group_size: int) -> None:
    for place, generation in part.items():
        if place in known or len(generation.completions) != group_size:
            raise SRLError(
                f"the engine handed over {len(generation.completions)} completions of prompt {place}, where "
                f"{group_size} were asked for once"
            )


def _resolve(
    parts: Iterable[tuple[dict[int, Generation], Future[list[Graded]]]],
    taken: Sequence[TrainingExample],
    group_size: int,
) -> tuple[dict[int, _Sampled], float]:
    started = time.perf_counter()
    sampled: dict[int, _Sampled] = {}
    for part, future in parts:
        graded = future.result()
        for number, (place, generation) in enumerate(part.items()):
            sampled[place] = _Sampled(
                example=taken[place],
                prompt_token_ids=generation.prompt_token_ids,
                graded=graded[number * group_size : (number + 1) * group_size],
            )
    return sampled, time.perf_counter() - started


def _generate(
    engine: Engine, prompts: Iterator[ChatPrompt | None], *, num_samples: int, sampling: SamplingParams, seed: int
) -> Generator[dict[int, Generation], None, None]:
    """What ``StreamingEngine.stream`` yields, from any engine."""
    if isinstance(engine, StreamingEngine):
        yield from engine.stream(prompts, num_samples=num_samples, sampling=sampling, seed=seed)
        return
    first = 0
    for number, items in enumerate(rounds(prompts)):
        round_seed = derive_seed(seed, number)
        generations = engine.generate(items, num_samples=num_samples, sampling=sampling, seed=round_seed)
        yield dict(zip(range(first, first + len(items)), generations, strict=True))
        yield {}  # nothing runs now, and the feed decides by what this round brought
        first += len(items)


def _group(sampled: _Sampled, rollouts: Sequence[Rollout | UngradedRollout]) -> RolloutGroup:
    return RolloutGroup(
        example=sampled.example,
        prompt_token_ids=sampled.prompt_token_ids,
        rollouts=tuple(item for item in rollouts if isinstance(item, Rollout)),
        ungraded=tuple(item for item in rollouts if isinstance(item, UngradedRollout)),
    )
