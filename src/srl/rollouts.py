"""Training examples -> engine -> parse -> reward -> RolloutGroups.

A completion that breaks the format gets the penalty without its reward being computed. A reward that raises or is not
a number in [0, 1] stops the run with the example's id (or, by setting, its rollout is left out and counted); one that
says it is ungraded is always left out and counted: an error of ours is never a reward.

The decision a reader would question: rewards are computed in a thread while the engine goes on sampling. They come
from other processes, other threads or another machine, and a reward on the engine's own time would leave a GPU idle.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from srl.engines import Engine, StreamingEngine
from srl.errors import RewardError, SRLError
from srl.outcome_gate import OutcomeGate
from srl.rewards.shaping import checked, many_of
from srl.seeds import derive_seed
from srl.types import (
    ChatPrompt,
    Completion,
    Generation,
    ParsedCompletion,
    Parser,
    ParseStatus,
    Reward,
    Rollout,
    RolloutGroup,
    SamplingParams,
    TrainingExample,
    Ungraded,
    UngradedRollout,
)

logger = logging.getLogger("srl")
ERROR = "error"
"""The reason of a rollout whose reward raised and whose recipe says to go on."""
MIN_UNGRADED_TO_STOP = 16
"""So many completions in one draw, of so many prompts ..."""
MIN_UNGRADED_PROMPTS = 8
"""... and not one that could be graded: the grader is broken, and the run stops. Some references hang every grading."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How completions become rewards; with the examples, all that SRL and RLVR differ in."""

    parse: Parser
    """Completion text -> monologue, action, status."""
    reward: Reward
    """(action, target) -> reward; called for completions that follow the format, through ``many`` where it has one."""
    format_penalty: float
    """Reward of every other completion."""
    drop_errors: bool = False
    """A reward that raises leaves its rollout out instead of stopping the run."""
    gate: OutcomeGate | None = None
    """Makes the reward depend on the final answer that the action leads to."""


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One completion on its way to a reward."""

    example: TrainingExample
    completion: Completion
    parsed: ParsedCompletion
    reward: float | Ungraded


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
    prompts = [example.prompt for example in examples]
    generations: dict[int, Generation] = {}
    graded: list[Graded] = []
    order: list[int] = []
    background = ThreadPoolExecutor(max_workers=1)
    try:
        futures: list[Future[list[Graded]]] = []
        for part in _generate(engine, prompts, num_samples=group_size, sampling=sampling, seed=seed):
            for index, generation in part.items():
                if index in generations or len(generation.completions) != group_size:
                    raise SRLError(
                        f"the engine handed over {len(generation.completions)} completions of prompt {index}, where "
                        f"{group_size} were asked for once"
                    )
            generations.update(part)
            order += part
            requests = [(completion, examples[index]) for index in part for completion in part[index].completions]
            futures.append(background.submit(score, requests, scoring))
            for future in futures:
                if future.done():
                    future.result()  # a reward that has failed is raised now, and not after hours of sampling
        for future in futures:
            graded += future.result()
    finally:
        background.shutdown(wait=False, cancel_futures=True)  # after an error or Ctrl-C nothing more is begun
    rollouts = _with_outcomes(graded, scoring, scoring.gate, engine, seed) if scoring.gate else [*map(_plain, graded)]
    _refuse_a_dead_grader(rollouts, [item.example.example_id for item in graded])
    sampled: dict[int, list[Rollout | UngradedRollout]] = {}
    for place, rollout in enumerate(rollouts):
        sampled.setdefault(order[place // group_size], []).append(rollout)
    return [
        RolloutGroup(
            example=example,
            prompt_token_ids=generations[index].prompt_token_ids,
            rollouts=tuple(item for item in sampled[index] if isinstance(item, Rollout)),
            ungraded=tuple(item for item in sampled[index] if isinstance(item, UngradedRollout)),
        )
        for index, example in enumerate(examples)
    ]


def score(requests: Sequence[tuple[Completion, TrainingExample]], scoring: Scoring) -> list[Graded]:
    """Parse completions and compute their rewards in one call. Raises RewardError as ``roll_out`` does."""
    parsed = [scoring.parse(completion.text, completion.finish_reason) for completion, _ in requests]
    wanted = [place for place, item in enumerate(parsed) if item.status is ParseStatus.OK]
    pairs = [(parsed[place].action, requests[place][1].target) for place in wanted]
    ids = [requests[place][1].example_id for place in wanted]
    rewards: list[float | Ungraded] = [scoring.format_penalty] * len(requests)
    found = _rewards_of(scoring.reward, pairs, ids, drop_errors=scoring.drop_errors)
    for place, reward in zip(wanted, found, strict=True):
        rewards[place] = reward
    return [
        Graded(example=example, completion=completion, parsed=item, reward=reward)
        for (completion, example), item, reward in zip(requests, parsed, rewards, strict=True)
    ]


def _generate(
    engine: Engine, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
) -> Iterator[dict[int, Generation]]:
    """Finished prompts as the engine finishes them, all at once from an engine that cannot tell."""
    if isinstance(engine, StreamingEngine):
        yield from engine.stream(prompts, num_samples=num_samples, sampling=sampling, seed=seed)
    else:
        yield dict(enumerate(engine.generate(prompts, num_samples=num_samples, sampling=sampling, seed=seed)))


def _rewards_of(
    reward: Reward, pairs: Sequence[tuple[str, str]], ids: Sequence[str], *, drop_errors: bool
) -> list[float | Ungraded]:
    """The rewards of all pairs at once; where that fails the halves, down to the example that is to blame."""
    if not pairs:
        return []
    try:
        rewards = many_of(reward)(pairs)
        return [checked(value, f"the reward of example {name}") for value, name in zip(rewards, ids, strict=True)]
    except Exception as error:
        if isinstance(error, SRLError) and not isinstance(error, RewardError):
            raise  # an endpoint or a setting that cannot be used; no example is to blame
        if len(pairs) == 1:
            if not drop_errors:
                raise RewardError(f"the reward raised {type(error).__name__} on example {ids[0]}: {error}") from error
            logger.warning("the reward failed on example %s, which is left out: %s", ids[0], error)
            return [Ungraded(reason=ERROR)]
    half = len(pairs) // 2
    return [
        *_rewards_of(reward, pairs[:half], ids[:half], drop_errors=drop_errors),
        *_rewards_of(reward, pairs[half:], ids[half:], drop_errors=drop_errors),
    ]


def _with_outcomes(
    graded: Sequence[Graded], scoring: Scoring, gate: OutcomeGate, engine: Engine, seed: int
) -> list[Rollout | UngradedRollout]:
    """Finish the solutions that the well-formed actions began, grade them, and weigh the rewards with the outcomes."""
    rollouts = [_plain(item) for item in graded]
    places = [
        place
        for place, item in enumerate(graded)
        if item.parsed.status is ParseStatus.OK and isinstance(item.reward, float)
    ]
    outcomes = gate.outcomes(
        [(graded[place].example, graded[place].parsed.action) for place in places],
        engine,
        seed=derive_seed(seed, "finish"),
        grade=lambda pairs, ids: _rewards_of(gate.reward, pairs, ids, drop_errors=scoring.drop_errors),
    )
    for place, outcome in zip(places, outcomes, strict=True):
        rollout = rollouts[place]
        assert isinstance(rollout, Rollout)
        if isinstance(outcome.reward, Ungraded):
            rollouts[place] = UngradedRollout(
                completion=rollout.completion,
                parsed=rollout.parsed,
                reason=outcome.reward.reason,
                num_finishing_tokens=outcome.num_tokens,
            )
        else:
            reward = gate.weigh(rollout.reward, outcome.reward)
            rollouts[place] = replace(
                rollout, reward=reward, outcome=outcome.reward, num_finishing_tokens=outcome.num_tokens
            )
    return rollouts


def _plain(item: Graded) -> Rollout | UngradedRollout:
    if isinstance(item.reward, Ungraded):
        return UngradedRollout(completion=item.completion, parsed=item.parsed, reason=item.reward.reason)
    return Rollout(completion=item.completion, parsed=item.parsed, reward=item.reward)


def _refuse_a_dead_grader(rollouts: Sequence[Rollout | UngradedRollout], ids: Sequence[str]) -> None:
    well_formed = [name for rollout, name in zip(rollouts, ids, strict=True) if rollout.parsed.status is ParseStatus.OK]
    reasons = Counter(rollout.reason for rollout in rollouts if isinstance(rollout, UngradedRollout))
    is_enough = len(well_formed) >= MIN_UNGRADED_TO_STOP and len(set(well_formed)) >= MIN_UNGRADED_PROMPTS
    if is_enough and reasons.total() == len(well_formed):
        raise RewardError(
            f"none of {len(well_formed)} well-formed completions could be graded ({dict(reasons)}); the grader, and "
            'not the policy, is broken. See reward.server, docs/grading.md and, for "error", the warnings above'
        )
