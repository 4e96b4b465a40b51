"""The settings of a run as frozen dataclasses; ``recipe.py`` reads them from TOML.

One TOML file describes one run, whole. Every default is the paper's value (docs/method.md says which table) unless
the field's string says otherwise. The strings under the fields are the documentation: ``docs/configuration.md`` and
the help of the command line are made from them. A setting that has no effect with the others chosen is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict

from srl.chat_api.settings import ServerConfig
from srl.compute_config import ModelConfig, TrainerConfig
from srl.errors import require
from srl.prompts import ContextPlace, PromptTexts
from srl.reward_config import RewardConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Expert data of one stage."""

    train: str
    """File, folder or Hub dataset id ("owner/name" or "owner/name:split") of trajectories in any format that \
`srl decompose` reads, or of the step examples that it writes."""
    validation: str = ""
    """The same for validation; empty: whole trajectories are held out of `train`."""
    num_validation_trajectories: int = 60
    """How many trajectories to hold out of `train`, chosen by the seed. 0 turns validation off. Without effect (an \
error if changed) when `validation` is given."""
    include_last_step: bool = False  # Paper: 4.2 makes N-1 examples of N steps; training on the last one too is ours.
    """Also train on the last step of each trajectory. The paper makes N-1 examples of N steps."""
    min_target_chars: int = 0
    """Leave out examples whose target action has fewer characters. Ours."""
    max_target_chars: int = 0
    """Leave out examples whose target action has more characters; 0: no limit. Ours."""
    max_examples_per_trajectory: int = 0
    """At most this many examples of one trajectory, so that long logs do not outweigh short ones; 0: no limit. Ours."""
    one_step: bool = False
    """srl: ask for the whole solution at once and compare it with the whole expert solution (the ablation of \
Table 3)."""
    draw_by: Literal["example", "trajectory"] = "example"
    """Whether examples are drawn one by one, or those of a trajectory together and in the order of its steps. \
Then what their prompts begin with is computed once for several, but the examples of an update are more alike. Ours."""
    starts: Literal["problem", "expert_steps"] = "problem"
    """rlvr: start from the problem alone, or (R3) from the problem and the expert's first k steps, for every k. The \
reward is the final answer in both."""

    def __post_init__(self) -> None:
        require(
            min(self.min_target_chars, self.max_target_chars, self.max_examples_per_trajectory) >= 0,
            "data.min_target_chars, max_target_chars and max_examples_per_trajectory must be at least 0",
        )
        room = not 0 < self.max_target_chars < self.min_target_chars
        require(room, "data.max_target_chars is below data.min_target_chars, which leaves no example")
        require(self.train != "", "data.train is empty; name a file or a Hub dataset")
        require(self.num_validation_trajectories >= 0, "data.num_validation_trajectories must be at least 0")
        held_out = self.num_validation_trajectories != 60
        require(
            not (self.validation and held_out),
            "data.num_validation_trajectories has no effect when data.validation names a file; remove one of them",
        )


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How the policy is asked."""

    context_in: ContextPlace = "user"  # Paper: B.2.1 has the user's turn only; "assistant" is ours.
    """Where the earlier steps stand: in the user's turn (the paper) or as the beginning of the assistant's turn."""
    title_in_prompt: bool = False  # Paper: footnote 1 finds the title helpful; off here, on in the math recipes.
    """Give the title of the step to predict and ask only for its body (the paper's footnote 1). Without it the \
policy writes number, title and body."""
    context_turns: int = 2
    """Agents' logs: rounds of action and observation that the prompt shows (5.3). No effect on solutions."""
    max_observation_tokens: int = 1024  # Paper: 5.3 gives no limit on observations.
    """Agents' logs: longer observations are cut in the middle to this many tokens of the policy's tokenizer. Ours."""
    max_prompt_tokens: int = 0  # Paper: gives no limit on prompts.
    """Longest prompt. An agent's context is cut to fit, never the problem; solutions with longer prompts are left out \
and counted. 0: what the model's window leaves beside the completion. Ours."""
    texts: PromptTexts = field(default_factory=PromptTexts)
    """Wording beside the data; every text can be replaced."""

    def __post_init__(self) -> None:
        require(self.context_turns >= 0, "prompt.context_turns must be at least 0")
        require(self.max_observation_tokens >= 1, "prompt.max_observation_tokens must be at least 1")
        require(self.max_prompt_tokens >= 0, "prompt.max_prompt_tokens must be at least 0")
        require("{title}" in self.texts.title_note, "prompt.texts.title_note must contain {title}")
        require("{count}" in self.texts.agent_cut_marker, "prompt.texts.agent_cut_marker must contain {count}")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Rollouts and dynamic sampling."""

    group_size: int = 8
    """Rollouts per prompt (G)."""
    groups_per_update: int = 512
    """Kept groups that make one batch. Table 7: 512 for SRL; Table 8: 128 for RLVR."""
    temperature: float = 1.0
    """Sampling temperature of the rollouts."""
    max_completion_tokens: int = 2048  # Paper: gives no limit on the length of completions.
    """Longer completions are cut and count as truncated. Not given in the paper; ours."""
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
    """The clipped objective (Eq. 1)."""

    clip_low: float = 0.2  # Paper: Eq. 1 clips by the same amount on both sides; two settings here.
    """The ratio is clipped below at 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above at 1 + clip_high."""
    beta: float = 0.0
    """Weight of the KL divergence to the reference, the policy at the start of the stage. 0 loads no reference."""

    def __post_init__(self) -> None:
        require(0 < self.clip_low <= 1, "loss.clip_low must be in (0, 1]")
        require(self.clip_high > 0, "loss.clip_high must be above 0")
        require(self.beta >= 0, "loss.beta must be at least 0")


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
    validate_every: int = 10
    """Updates between validations; the best checkpoint by validation reward is what the stage hands on."""
    num_validation_examples: int = 256  # Paper: 4.2 names no limit; ours bounds the time.
    """Validation examples scored each time (the first ones of the held-out trajectories)."""
    save_every: int = 10
    """Updates between resumable checkpoints; the last one is kept."""
    rollouts_saved: int = 4
    """Groups of each update that are written to rollouts/ for the report."""

    def __post_init__(self) -> None:
        require(self.num_epochs >= 1, "schedule.num_epochs must be at least 1")
        require(self.num_updates >= 0, "schedule.num_updates must be at least 0")
        require(self.max_rollouts >= 0, "schedule.max_rollouts must be at least 0")
        require(self.validate_every >= 1, "schedule.validate_every must be at least 1")
        require(self.num_validation_examples >= 1, "schedule.num_validation_examples must be at least 1")
        require(self.save_every >= 1, "schedule.save_every must be at least 1")
        require(self.rollouts_saved >= 0, "schedule.rollouts_saved must be at least 0")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a run; each stage starts from the weights of the one before."""

    kind: Literal["srl", "rlvr"]
    """srl: predict the expert's next step, rewarded by similarity. rlvr: write whole solutions, rewarded by the \
final answer."""
    data: DataConfig
    prompt: PromptConfig = field(default_factory=PromptConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        clips = (self.loss.clip_low, self.loss.clip_high) != (LossConfig().clip_low, LossConfig().clip_high)
        require(
            not clips or self.optimizer.passes_per_batch > 1 or self.sampling.max_staleness > 0,
            "loss.clip_low and .clip_high have no effect with optimizer.passes_per_batch = 1 and "
            "sampling.max_staleness = 0: the ratio is always 1",
        )
        require(
            self.sampling.max_staleness == 0 or self.schedule.save_every > 1,
            "sampling.max_staleness has no effect with schedule.save_every = 1: nothing is kept past a checkpoint",
        )
        data, prompt = self.data, self.prompt
        plain = PromptConfig(texts=prompt.texts, max_prompt_tokens=prompt.max_prompt_tokens)
        limits = (data.min_target_chars, data.max_target_chars, data.max_examples_per_trajectory)
        by_step = not data.one_step if self.kind == "srl" else data.starts == "expert_steps"
        require(
            by_step or data.draw_by == "example",
            "data.draw_by has no effect where a trajectory makes one example: with one_step = true, and in an rlvr "
            'stage with data.starts = "problem"',
        )
        if self.kind == "rlvr":
            require(prompt == plain, "in an rlvr stage only texts and max_prompt_tokens of [prompt] have an effect")
            require(
                self.reward.is_bare,
                "in an rlvr stage only on_error of [reward] has an effect: its reward is 1 or 0",
            )
            require(not data.include_last_step, "data.include_last_step has no effect in an rlvr stage")
            require(not data.one_step, "data.one_step has no effect in an rlvr stage, which asks for whole solutions")
            require(
                data.starts == "expert_steps" or limits == (0, 0, 0),
                'limits on targets and examples have no effect in an rlvr stage with data.starts = "problem"',
            )
        else:
            require(data.starts == "problem", "data.starts has no effect in an srl stage")
            require(
                not data.one_step or self.reward.outcome == "off",
                "reward.outcome has no effect with one_step = true: a whole solution needs no finishing",
            )
        if data.one_step:
            require(
                not data.include_last_step and limits == (0, 0, 0),
                "data.include_last_step and limits on targets and examples have no effect with one_step = true",
            )
            require(prompt == plain, "with one_step = true only texts and max_prompt_tokens of [prompt] count")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: a model and the stages it goes through."""

    run_dir: str
    """Folder that the run writes; must not exist yet unless the run is resumed."""
    seed: int = 0
    """Seed of everything that is random; same seed, same machine, same result."""
    model: ModelConfig
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    stages: dict[str, StageConfig]
    """Stages by name, in the order of the file."""

    def __post_init__(self) -> None:
        require(len(self.stages) > 0, "a recipe needs at least one [stages.NAME] table")
        for name in self.stages:
            require(
                name.replace("-", "").replace("_", "").isalnum() and name.isascii(),
                f"stage name {name!r}: use letters, digits, '-' and '_'",
            )


CONFIG_TYPES = (
    RunConfig, ModelConfig, StageConfig, DataConfig, PromptConfig, PromptTexts, RewardConfig, ServerConfig,
    SamplingConfig, LossConfig, OptimizerConfig, ScheduleConfig, TrainerConfig,
)  # fmt: skip
for _type in CONFIG_TYPES:  # unknown keys are errors at every level
    _type.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]
