"""The settings of a run as frozen dataclasses; ``recipe.py`` reads them from TOML.

One TOML file describes one run, whole. Every default is the paper's value (docs/method.md says which table) unless
the field's string says otherwise. The strings under the fields are the documentation: ``docs/configuration.md`` and
the help of the command line are made from them. A setting that has no effect with the others chosen is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import ConfigDict

from srl.chat_api.settings import ServerConfig
from srl.compute_config import ModelConfig, TrainerConfig
from srl.data_config import DataConfig, InterleaveConfig, PromptConfig, SelectionConfig
from srl.errors import require
from srl.prompts import PromptTexts
from srl.reward_config import RewardConfig
from srl.training_config import LossConfig, OptimizerConfig, SamplingConfig, ScheduleConfig, SFTConfig


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a run; each stage starts from the weights of the one before."""

    kind: Literal["srl", "rlvr", "sft"]
    """srl: predict the expert's next step, rewarded by similarity. rlvr: write whole solutions, rewarded by the \
final answer. sft: learn the expert's text by heart."""
    data: DataConfig
    prompt: PromptConfig = field(default_factory=PromptConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    interleave: InterleaveConfig = field(default_factory=InterleaveConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)

    def __post_init__(self) -> None:
        require(self.kind == "sft" or self.sft == SFTConfig(), "[sft] has no effect in a stage that is not of kind sft")
        if self.kind == "sft":
            _check_sft(self)
            return
        _check_loss(self)
        _check_draws(self)
        _check_lengths(self)
        if self.kind == "rlvr":
            _check_rlvr(self)
        else:
            _check_srl(self)

    @property
    def asks_by_step(self) -> bool:
        """Whether a trajectory makes one training example for each step; else it makes one."""
        if self.kind == "sft":
            return self.sft.teach == "steps"
        return not self.data.one_step if self.kind == "srl" else self.data.starts != "problem"


def _plain_prompt(stage: StageConfig) -> PromptConfig:
    """The prompt settings that have an effect in a stage that asks for whole solutions."""
    plain = PromptConfig(texts=stage.prompt.texts, max_prompt_tokens=stage.prompt.max_prompt_tokens)
    solves = stage.schedule.num_validation_problems > 0  # step by step, too
    return replace(plain, context_in=stage.prompt.context_in) if solves else plain


def _limits(data: DataConfig) -> tuple[int, int, int]:
    return data.min_target_chars, data.max_target_chars, data.max_examples_per_trajectory


def _check_loss(stage: StageConfig) -> None:
    loss, plain = stage.loss, LossConfig()
    off_policy = stage.optimizer.passes_per_batch > 1 or stage.sampling.max_staleness > 0
    unused = [
        name
        for name in ("clip_low", "clip_high", "ratio", "surrogate")
        if getattr(loss, name) != getattr(plain, name) and not off_policy
    ]
    require(
        not unused,
        f"loss.{', '.join(unused)} have no effect with optimizer.passes_per_batch = 1 and sampling.max_staleness = 0: "
        "the ratio is always 1",
    )
    require(
        stage.sampling.max_staleness == 0 or stage.schedule.save_every > 1,
        "sampling.max_staleness has no effect with schedule.save_every = 1: nothing is kept past a checkpoint",
    )


def _check_draws(stage: StageConfig) -> None:
    require(
        stage.asks_by_step or stage.data.draw_by == "example",
        "data.draw_by has no effect where a trajectory makes one example: with one_step = true, and in an rlvr "
        'stage with data.starts = "problem"',
    )
    require(
        stage.data.starts != "staged" or stage.selection.easy_share == 1,
        'data.starts = "staged" and selection.easy_share are two orders of the same examples; choose one',
    )


def _check_lengths(stage: StageConfig) -> None:
    require(
        stage.sampling.overlong_tokens == 0 or stage.reward.outcome == "off",
        "sampling.overlong_tokens does not go together with reward.outcome, which weighs rewards from 0 to 1",
    )


def _check_rlvr(stage: StageConfig) -> None:
    data = stage.data
    require(
        stage.prompt == _plain_prompt(stage),
        "in an rlvr stage only texts and max_prompt_tokens of [prompt] have an effect",
    )
    require(stage.reward.is_bare, "in an rlvr stage only on_error of [reward] has an effect: its reward is 1 or 0")
    require(not data.include_last_step, "data.include_last_step has no effect in an rlvr stage")
    require(not data.one_step, "data.one_step has no effect in an rlvr stage, which asks for whole solutions")
    require(not stage.interleave.is_on, "[interleave] has no effect in an rlvr stage, which has whole problems only")
    require(
        data.starts != "problem" or _limits(data) == (0, 0, 0),
        'limits on targets and examples have no effect in an rlvr stage with data.starts = "problem"',
    )


def _check_srl(stage: StageConfig) -> None:
    data = stage.data
    require(data.starts == "problem", "data.starts has no effect in an srl stage")
    if not data.one_step:
        return
    require(
        stage.reward.outcome == "off",
        "reward.outcome has no effect with one_step = true: a whole solution needs no finishing",
    )
    require(
        not data.include_last_step and _limits(data) == (0, 0, 0),
        "data.include_last_step and limits on targets and examples have no effect with one_step = true",
    )
    require(
        stage.prompt == _plain_prompt(stage), "with one_step = true only texts and max_prompt_tokens of [prompt] count"
    )


def _check_sft(stage: StageConfig) -> None:
    data, schedule = stage.data, stage.schedule
    unused = [
        name
        for name, value, plain in (
            ("selection", stage.selection, SelectionConfig()),
            ("interleave", stage.interleave, InterleaveConfig()),
            ("reward", stage.reward, RewardConfig()),
            ("loss", stage.loss, LossConfig()),
            ("optimizer", stage.optimizer, OptimizerConfig()),
        )
        if value != plain
    ]
    require(not unused, f"[{', '.join(unused)}] have no effect in an sft stage; its settings are those of [sft]")
    sampling = SamplingConfig(
        max_completion_tokens=stage.sampling.max_completion_tokens, engine_batch_size=stage.sampling.engine_batch_size
    )
    require(
        stage.sampling == sampling,
        "in an sft stage only max_completion_tokens and engine_batch_size of [sampling] have an effect, for validation",
    )
    kept = ("validate_every", "num_validation_examples", "num_validation_problems", "max_solution_tokens", "best_by")
    used = replace(ScheduleConfig(), **{name: getattr(schedule, name) for name in kept})
    require(schedule == used, f"in an sft stage only {', '.join(kept)} of [schedule] have an effect")
    require(
        data.starts == "problem" and not data.one_step, "data.starts and data.one_step have no effect in an sft stage"
    )
    require(data.draw_by == "example", "data.draw_by has no effect in an sft stage")
    require(stage.prompt.own_steps == "off", "prompt.own_steps has no effect in an sft stage: nothing is sampled")
    if stage.sft.teach != "steps":
        require(
            not data.include_last_step and _limits(data) == (0, 0, 0),
            'data.include_last_step and limits on targets and examples have no effect without sft.teach = "steps"',
        )
        require(
            stage.prompt == _plain_prompt(stage),
            'without sft.teach = "steps" only texts and max_prompt_tokens of [prompt] count',
        )


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
    RunConfig, ModelConfig, StageConfig, DataConfig, PromptConfig, PromptTexts, SelectionConfig, InterleaveConfig,
    RewardConfig, ServerConfig, SamplingConfig, LossConfig, OptimizerConfig, ScheduleConfig, SFTConfig, TrainerConfig,
)  # fmt: skip
for _type in CONFIG_TYPES:  # unknown keys are errors at every level
    _type.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]
