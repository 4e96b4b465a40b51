"""Completions -> parse -> reward.

A completion that breaks the format gets the penalty without its reward being computed. A reward that raises or is not
a number in [0, 1] stops the run with the example's id (or, by setting, its rollout is left out and counted); one that
says it is ungraded is always left out and counted: an error of ours is never a reward.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue

from srl.engines import Engine
from srl.errors import RewardError, SRLError
from srl.outcome_gate import OutcomeGate
from srl.rewards.shaping import checked, many_of
from srl.seeds import derive_seed
from srl.types import (
    Completion,
    ParsedCompletion,
    Parser,
    ParseStatus,
    Reward,
    Rollout,
    RolloutGroup,
    TrainingExample,
    Ungraded,
    UngradedRollout,
)

logger = logging.getLogger("srl")
ERROR = "error"
"""The reason of a rollout whose reward raised and whose recipe says to go on."""
MIN_UNGRADED_TO_STOP = 16
"""So many well-formed completions so far in the update, of so many prompts ..."""
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
    problems: Scoring | None = None
    """How whole problems among the steps are scored; None where there are none."""
    length_penalty: Callable[[int], float] | None = None
    """Tokens of a completion -> what is added to its reward, at most 0; None: nothing."""


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One completion on its way to a reward."""

    example: TrainingExample
    completion: Completion
    parsed: ParsedCompletion
    reward: float | Ungraded


def score(requests: Sequence[tuple[Completion, TrainingExample]], scoring: Scoring) -> list[Graded]:
    """Parse completions and compute their rewards, whole problems apart. Raises RewardError as ``roll_out`` does."""
    if scoring.problems is None:
        return _score_alike(requests, scoring)
    graded: dict[int, Graded] = {}
    for is_problem, rules in ((False, scoring), (True, scoring.problems)):
        places = [place for place, (_, example) in enumerate(requests) if example.is_problem == is_problem]
        graded |= zip(places, _score_alike([requests[place] for place in places], rules), strict=True)
    return [graded[place] for place in range(len(requests))]


def _score_alike(requests: Sequence[tuple[Completion, TrainingExample]], scoring: Scoring) -> list[Graded]:
    """All by the same rules, in one call of the reward."""
    parsed = [scoring.parse(completion.text, completion.finish_reason) for completion, _ in requests]
    wanted = [place for place, item in enumerate(parsed) if item.status is ParseStatus.OK]
    pairs = [(parsed[place].action, requests[place][1].target) for place in wanted]
    ids = [requests[place][1].example_id for place in wanted]
    rewards: list[float | Ungraded] = [scoring.format_penalty] * len(requests)
    found = _rewards_of(scoring.reward, pairs, ids, drop_errors=scoring.drop_errors)
    for place, reward in zip(wanted, found, strict=True):
        rewards[place] = reward
    if scoring.length_penalty is not None:
        penalties = [scoring.length_penalty(len(completion.token_ids)) for completion, _ in requests]
        rewards = [_add(reward, penalty) for reward, penalty in zip(rewards, penalties, strict=True)]
    return [
        Graded(example=example, completion=completion, parsed=item, reward=reward)
        for (completion, example), item, reward in zip(requests, parsed, rewards, strict=True)
    ]


def _add(reward: float | Ungraded, penalty: float) -> float | Ungraded:
    return reward if isinstance(reward, Ungraded) else reward + penalty


class BackgroundScoring:
    """Scores in one thread, one call at a time, while the caller goes on.

    Whatever has been handed in by the time a call begins is scored by that call. A reward whose cost is latency (an
    endpoint, a judge) thus makes few large calls, and a fast one is there at once. It changes no reward.
    """

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._parts: SimpleQueue[tuple[Sequence[tuple[Completion, TrainingExample]], Future[list[Graded]]]]
        self._parts = SimpleQueue()
        self._is_closed = threading.Event()
        # A daemon: an executor's thread is joined when the interpreter exits, and a call that hangs would hang the exit
        self._thread = threading.Thread(target=self._work, name="rewards", daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[tuple[Completion, TrainingExample]]) -> Future[list[Graded]]:
        """What ``score`` gives, in time. An error may be that of another part; it names the example to blame."""
        future: Future[list[Graded]] = Future()
        self._parts.put((requests, future))
        return future

    def close(self, *, wait: bool) -> None:
        """Begin no further call. ``wait`` for the running one, so that the next stream's calls do not overlap it."""
        self._is_closed.set()
        self._parts.put(([], Future()))  # wakes the thread
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while True:
            parts = [self._parts.get()]
            while not self._parts.empty():  # nobody else takes from it
                parts.append(self._parts.get())
            if self._is_closed.is_set():
                return
            try:
                graded = iter(score([request for requests, _ in parts for request in requests], self._scoring))
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits, also SystemExit
                for _, future in parts:
                    future.set_exception(error)
            else:
                for requests, future in parts:
                    future.set_result([next(graded) for _ in requests])


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


def weigh_with_outcomes(
    graded: Sequence[Graded], scoring: Scoring, gate: OutcomeGate, engine: Engine, seed: int
) -> tuple[list[Rollout | UngradedRollout], float]:
    """Finish the solutions that the well-formed actions began, grade them, and weigh the rewards with the outcomes.

    Also returns the seconds that the grading took.
    """
    seconds = 0.0

    def grade(pairs: Sequence[tuple[str, str]], ids: Sequence[str]) -> list[float | Ungraded]:
        nonlocal seconds
        started = time.perf_counter()
        rewards = _rewards_of(gate.reward, pairs, ids, drop_errors=scoring.drop_errors)
        seconds += time.perf_counter() - started
        return rewards

    rollouts = [plain_rollout(item) for item in graded]
    places = [
        place
        for place, item in enumerate(graded)
        if item.parsed.status is ParseStatus.OK and isinstance(item.reward, float) and not item.example.is_problem
    ]
    outcomes = gate.outcomes(
        [(graded[place].example, graded[place].parsed.action) for place in places],
        engine,
        seed=derive_seed(seed, "finish"),
        grade=grade,
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
    return rollouts, seconds


def plain_rollout(item: Graded) -> Rollout | UngradedRollout:
    """The completion with its reward, or without one."""
    if isinstance(item.reward, Ungraded):
        return UngradedRollout(completion=item.completion, parsed=item.parsed, reason=item.reward.reason)
    return Rollout(completion=item.completion, parsed=item.parsed, reward=item.reward)


def refuse_a_dead_grader(groups: Sequence[RolloutGroup]) -> None:
    """Raises RewardError when there are many well-formed completions and not one of them could be graded."""
    well_formed = [
        group.example.example_id
        for group in groups
        for rollout in group.sampled
        if rollout.parsed.status is ParseStatus.OK
    ]
    reasons = Counter(rollout.reason for group in groups for rollout in group.ungraded)
    is_enough = len(well_formed) >= MIN_UNGRADED_TO_STOP and len(set(well_formed)) >= MIN_UNGRADED_PROMPTS
    if is_enough and reasons.total() == len(well_formed):
        raise RewardError(
            f"none of {len(well_formed)} well-formed completions could be graded ({dict(reasons)}); the grader, and "
            'not the policy, is broken. See reward.server, docs/grading.md and, for "error", the warnings above'
        )
