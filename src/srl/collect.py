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

from accelerate import Accelerator
from accelerate.utils import gather_object

from srl.completion_rewards import Scoring, refuse_a_dead_grader
from srl.config import StageConfig
from srl.dynamic_sampling import CollectedGroups, collect_groups
from srl.engines import Engine
from srl.errors import SRLError
from srl.example_stream import ExampleStream, StreamState
from srl.rollouts import RolledOut, rounds, stream_groups
from srl.seeds import derive_seed
from srl.types import RolloutGroup, SamplingParams, TrainingExample

logger = logging.getLogger("srl")
KEEP_ALL = -1.0
"""A threshold that every group is above; what ``sampling.dynamic = false`` means."""
LAG_SHARE = 4
"""A batch over this many finished prompts may wait for their rewards. Fewer, and sampling stands still for each call of
a slow reward; all, and nothing is known of the batch until the engine has run dry."""


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
    ) -> None:
        """``name`` is the stage's; ``training`` is what is drawn from."""
        self._name, self._sampling, self._save_every = name, config.sampling, config.schedule.save_every
        self._engine, self._scoring, self._accelerator, self._seed = engine, scoring, accelerator, seed
        self._stream = ExampleStream(
            training,
            seed=derive_seed(seed, name),
            num_epochs=config.schedule.num_epochs,
            draw_by=config.data.draw_by,
        )
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

    def state(self) -> StreamState:
        """What ``restore`` needs. Groups that are carried over are not in it, only their examples."""
        state = self._stream.state()
        return {**state, "given_back": [group.example.example_id for _, group in self._carried] + state["given_back"]}

    def restore(self, state: StreamState) -> None:
        """Continue where ``state`` was taken."""
        self._stream.restore(state)
        self._carried = []

    def collect(self, update: int) -> CollectedGroups:
        """The groups to train on in this update, by dynamic sampling. Raises as ``collect_groups`` does."""
        sampling = self._sampling
        oldest = update - sampling.max_staleness
        self._stream.give_back([group.example for birth, group in self._carried if birth < oldest])
        self._carried = [(birth, group) for birth, group in self._carried if birth >= oldest]
        num_carried = min(len(self._carried), sampling.groups_per_update)
        collected = collect_groups(
            self._stream.draw,
            lambda feed: self._roll_out_feed(feed, update),
            groups_per_update=sampling.groups_per_update,
            min_reward_std=sampling.min_reward_std if sampling.dynamic else KEEP_ALL,
            max_draws=sampling.max_draws if sampling.dynamic else 1,
            carried=[group for _, group in self._carried[:num_carried]],
        )
        self._carry_over(collected, self._carried[num_carried:], update)
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
            self._stream.give_back([*(group.example for _, group in unused), *examples])
            self._carried = []
        else:
            self._stream.give_back(collected.unfinished)
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
