"""Examples in, the groups of an update out: the stream of examples, the engine, dynamic sampling and the processes.

One process samples in a stream. Several work in rounds: every process draws the same examples, rolls out its share of
a round and gets the groups of all, so that all of them decide the same.

The decision a reader would question: kept groups beyond a full batch are rolled out afresh, unless
``sampling.max_staleness`` says for how many updates they may be kept. They are never written down. At every
``save_every``-th update they are given up, so that a run that was killed has what the one never killed has. The
checkpoint at the end of a stage, or when sampling finds nothing, is outside this promise: with ``max_staleness`` above
0, a finished run that is made longer is not exactly the longer run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypedDict

from accelerate import Accelerator
from accelerate.utils import gather_object

from srl.completion_rewards import Scoring, refuse_a_dead_grader
from srl.config import StageConfig
from srl.curriculum import MeasuredExample, choose, easy_first, measure, sliding_starts
from srl.dynamic_sampling import CollectedGroups, collect_groups
from srl.engines import Engine
from srl.errors import DataError, SRLError
from srl.example_stream import ExampleStream, Pool, StreamState, ids_of, positions_of
from srl.interleaved_stream import InterleavedState, InterleavedStream
from srl.own_steps import OwnSteps, OwnStepsState
from srl.rollouts import RolledOut, rounds, stream_groups
from srl.seeds import derive_seed
from srl.training_examples import TrainingExamples
from srl.types import RolloutGroup, SamplingParams, TrainingExample

logger = logging.getLogger("srl")
KEEP_ALL = -1.0
"""A threshold that every group is above; what ``sampling.dynamic = false`` means."""
MEASURED_TOGETHER = 1024
"""Examples of the selection's pass that are rolled out in one go; bounds the memory."""
LAG_SHARE = 4
"""A batch over this many finished prompts may wait for their rewards. Fewer, and sampling stands still for each call of
a slow reward; all, and nothing is known of the batch until the engine has run dry."""


class CollectorState(TypedDict):
    """What a checkpoint keeps of a collector."""

    stream: StreamState | InterleavedState
    carried: list[str]
    own_steps: OwnStepsState


class GroupCollector:
    """Collects the groups of one stage, update after update."""

    def __init__(
        self,
        name: str,
        config: StageConfig,
        training: Sequence[TrainingExample],
        engine: Engine,
        scoring: Scoring,
        accelerator: Accelerator,
        *,
        seed: int,
        problems: Sequence[TrainingExample] = (),
        own_steps: OwnSteps | None = None,
    ) -> None:
        """``name`` is the stage's; ``training`` is what is drawn from, ``problems`` what may be among it."""
        self._name, self._sampling, self._save_every = name, config.sampling, config.schedule.save_every
        self._engine, self._scoring, self._accelerator, self._seed = engine, scoring, accelerator, seed
        self._config, self._training, self._problems, self._own_steps = config, training, problems, own_steps
        self._stream = self._new_stream(training)
        self._carried: list[tuple[int, RolloutGroup]] = []
        """Groups to train on later, with the update that they were sampled for."""

    @property
    def is_exhausted(self) -> bool:
        """Whether there is nothing more to train on."""
        return self._stream.is_exhausted and not self._carried

    @property
    def epoch(self) -> float:
        """Epochs drawn so far, for instance 1.5."""
        return self._stream.epoch

    @property
    def own_steps_rate(self) -> float | None:
        """The share of the policy's own steps in the contexts of the last update; None where they are off."""
        return self._own_steps.own_rate if self._own_steps else None

    def state(self) -> CollectorState:
        """What ``restore`` needs. Groups that are carried over are not in it, only their examples."""
        return {
            "stream": self._stream.state(),
            "carried": [group.example.example_id for _, group in self._carried],
            "own_steps": self._own_steps.state() if self._own_steps else [],
        }

    def restore(self, state: CollectorState) -> None:
        """Continue where ``state`` was taken; after ``choose``, where that was called."""
        self._stream.restore(state["stream"])  # pyright: ignore[reportArgumentType] - the kind that it has made
        self._stream.give_back(state["carried"])
        self._carried = []
        if self._own_steps:
            self._own_steps.restore(state["own_steps"])

    def measure(self) -> list[MeasuredExample]:
        """Roll out every training example ``selection.num_rollouts`` times, by the policy as it is.

        Raises RewardError when not one of many completions can be graded.
        """
        settings, temperature = self._config.selection, self._sampling.temperature
        measured: list[MeasuredExample] = []
        for start in range(0, len(self._training), MEASURED_TOGETHER):
            examples = self._training[start : start + MEASURED_TOGETHER]
            seed = derive_seed(self._seed, self._name, "selection", start)
            found = self._roll_out_together(examples, settings.num_rollouts, temperature, seed).groups
            groups = [found[place] for place in range(len(examples))]
            refuse_a_dead_grader(groups)
            measured += measure(groups)
        return measured

    def choose(self, measured: Sequence[MeasuredExample]) -> list[str]:
        """Draw from now on as [selection] says, by what was measured; returns the ids of what is drawn from.

        Raises DataError when that is nothing, or when other examples were measured.
        """
        places = {example_id: place for place, example_id in enumerate(ids_of(self._training))}
        if places.keys() != {item.example_id for item in measured}:
            raise DataError("the training data differs from what the pass of [selection] measured; start a new run")
        chosen = choose(measured, self._config.selection)
        wanted = [places[example_id] for example_id in chosen]
        training = self._training
        kept = training.subset(wanted) if isinstance(training, TrainingExamples) else [training[i] for i in wanted]
        self._stream = self._new_stream(kept, easy_first(measured, chosen, self._config.selection))
        return chosen

    def _new_stream(
        self, training: Sequence[TrainingExample], pools: Sequence[Pool] = ()
    ) -> ExampleStream | InterleavedStream:
        data, num_epochs = self._config.data, self._config.schedule.num_epochs
        if data.starts == "staged":  # which excludes any other curriculum
            pools = sliding_starts(ids_of(training), positions_of(training), data.num_start_stages)
        seed = derive_seed(self._seed, self._name)
        steps = ExampleStream(training, seed=seed, num_epochs=num_epochs, draw_by=data.draw_by, pools=pools)
        if not self._problems:
            return steps
        problems = ExampleStream(self._problems, seed=derive_seed(seed, "problems"), num_epochs=num_epochs)
        mix = self._config.interleave
        return InterleavedStream(steps, problems, first_share=mix.first_share, last_share=mix.last_share)

    def _draw(self, num_examples: int) -> list[TrainingExample]:
        examples = self._stream.draw(num_examples)
        return examples if self._own_steps is None else self._own_steps.apply(examples)

    def collect(self, update: int, progress: float = 0.0) -> CollectedGroups:
        """The groups to train on in this update, by dynamic sampling. Raises as ``collect_groups`` does.

        ``progress`` is that of the stage, in [0, 1]; curricula go by it.
        """
        sampling = self._sampling
        oldest = update - sampling.max_staleness
        self._stream.begin(progress)
        if self._own_steps:
            self._own_steps.begin(progress)
        self._stream.give_back([group.example.example_id for birth, group in self._carried if birth < oldest])
        self._carried = [(birth, group) for birth, group in self._carried if birth >= oldest]
        num_carried = min(len(self._carried), sampling.groups_per_update)
        collected = collect_groups(
            self._draw,
            lambda feed: self._roll_out_feed(feed, update),
            groups_per_update=sampling.groups_per_update,
            min_reward_std=sampling.min_reward_std if sampling.dynamic else KEEP_ALL,
            max_draws=sampling.max_draws if sampling.dynamic else 1,
            carried=[group for _, group in self._carried[:num_carried]],
        )
        self._carry_over(collected, self._carried[num_carried:], update)
        if self._own_steps:
            self._own_steps.record(collected.fresh)
        if collected.reached_cap:
            logger.warning(
                "%s update %d: the cap of dynamic sampling was reached after %d groups; training on the %d kept of %d "
                "wanted. The policy solves or fails these examples too uniformly; see sampling/kept_rate.",
                self._name, update, len(collected.groups), len(collected.kept), sampling.groups_per_update,
            )  # fmt: skip
        return collected

    def roll_out_greedily(self, examples: Sequence[TrainingExample], update: int) -> list[RolloutGroup]:
        """One greedy completion for each example, in their order; for validation."""
        seed = derive_seed(self._seed, self._name, update, "validation")
        found = self._roll_out_together(examples, 1, 0.0, seed).groups
        groups = [found[place] for place in range(len(examples))]
        refuse_a_dead_grader(groups)
        return groups

    def _carry_over(self, collected: CollectedGroups, unused: Sequence[tuple[int, RolloutGroup]], update: int) -> None:
        """Keep what may be trained on later; the rest is drawn again first."""
        if self._sampling.max_staleness == 0 or update % self._save_every == 0:
            examples = [item.example if isinstance(item, RolloutGroup) else item for item in collected.left_over]
            examples = [*(group.example for _, group in unused), *examples]
            self._stream.give_back([example.example_id for example in examples])
            self._carried = []
        else:
            self._stream.give_back([example.example_id for example in collected.unfinished])
            self._carried = [*unused, *((update, group) for group in collected.surplus)]

    def _roll_out_feed(self, feed: Iterator[TrainingExample | None], update: int) -> Generator[RolledOut, None, None]:
        """The groups of a feed: in a stream, with several processes in rounds."""
        size, temperature = self._sampling.group_size, self._sampling.temperature
        seed = derive_seed(self._seed, self._name, update)
        if self._accelerator.num_processes == 1:
            lag = max(1, self._sampling.groups_per_update // LAG_SHARE)
            with closing(self._stream_groups(feed, size, temperature, seed, lag=lag)) as parts:
                for part in parts:
                    self._check(part.groups.values())
                    yield part
            return
        first = 0
        for number, examples in enumerate(rounds(feed)):
            part = self._roll_out_together(examples, size, temperature, derive_seed(seed, number))
            groups = {first + place: group for place, group in part.groups.items()}
            self._check(groups.values())
            yield RolledOut(groups=groups, reward_seconds=part.reward_seconds)
            first += len(examples)

    def _roll_out_together(
        self, examples: Sequence[TrainingExample], group_size: int, temperature: float, seed: int
    ) -> RolledOut:
        """Every process rolls out its share; all processes get all groups, by the place of their example."""
        rank, num_processes = self._accelerator.process_index, self._accelerator.num_processes
        feed = iter(examples[rank::num_processes])
        parts = list(self._stream_groups(feed, group_size, temperature, derive_seed(seed, rank), lag=math.inf))
        own: dict[int, RolloutGroup] = {
            rank + place * num_processes: group for part in parts for place, group in part.groups.items()
        }
        shares: list[dict[int, RolloutGroup]] = [own]
        if num_processes > 1:
            shares = gather_object(shares)  # one entry per process
        return RolledOut(
            groups=dict(sorted((place, group) for share in shares for place, group in share.items())),
            reward_seconds=sum(part.reward_seconds for part in parts),
        )

    def _check(self, groups: Iterable[RolloutGroup]) -> None:
        """Raises SRLError at the first group that could not be trained on later although the recipe may want it."""
        for group in groups if self._sampling.max_staleness > 0 else ():
            if any(rollout.completion.logprobs is None for rollout in group.sampled):
                raise SRLError(
                    "sampling.max_staleness is above 0, but the engine gave no log-probabilities with its rollouts of "
                    f"example {group.example.example_id}; without them the objective has nothing to compare an older "
                    "policy's rollouts with. Set max_staleness = 0"
                )

    def _stream_groups(
        self,
        feed: Iterator[TrainingExample | None],
        group_size: int,
        temperature: float,
        seed: int,
        *,
        lag: float,
    ) -> Generator[RolledOut, None, None]:
        return stream_groups(
            feed,
            self._engine,
            self._scoring,
            group_size=group_size,
            sampling=SamplingParams(
                temperature=temperature, max_completion_tokens=self._sampling.max_completion_tokens
            ),
            seed=seed,
            lag=lag,
        )
