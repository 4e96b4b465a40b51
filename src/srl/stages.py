"""Recipe -> stages -> trained policy, each stage starting from the weights of the one before.

``build_stage`` turns expert data and settings into the examples and the scoring of one stage; this is the whole
difference between SRL and RLVR. ``run_recipe`` trains stage after stage. What a stage hands on is always read back
from its checkpoint folder, so a resumed run and an uninterrupted one take the same path.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.checkpoint import final_model, latest_checkpoint
from srl.config import RunConfig, StageConfig
from srl.display import TrainingDisplay
from srl.engines.transformers import TransformersEngine, render
from srl.errors import ConfigError, DataError
from srl.examples import load_step_examples, problem_key, problems_of, split_by_trajectory
from srl.metrics import Metrics
from srl.parsing import parse_solution, parse_step
from srl.policy import load_policy
from srl.prompts import solve_prompt, step_prompt
from srl.rewards.outcome import outcome_reward
from srl.rewards.similarity import similarity_reward
from srl.rollouts import Scoring
from srl.run_dir import RunDir
from srl.trainer import Stage, Trainer
from srl.types import StepExample, TrainingExample

logger = logging.getLogger("srl")


@dataclass(frozen=True, kw_only=True)
class StageData:
    """A stage and what was left out on the way to it."""

    stage: Stage
    """Examples and scoring."""
    dropped: dict[str, int]
    """Counts by reason: rows that could not be read, steps without a target, prompts that are too long."""


def build_stage(name: str, config: StageConfig, *, seed: int) -> StageData:
    """Read the stage's data and make its prompts. Raises DataError when nothing is left to train on."""
    dropped: Counter[str] = Counter()
    # An RLVR stage needs problems and answers only, so the last step may stand for its trajectory.
    include_last = config.data.include_last_step or config.kind == "rlvr"
    training, drops = load_step_examples(config.data.train, include_last_step=include_last)
    dropped.update(drop.reason for drop in drops)
    validation: list[StepExample] = []
    if config.data.validation:
        validation, drops = load_step_examples(config.data.validation, include_last_step=include_last)
        dropped.update(f"validation: {drop.reason}" for drop in drops)
        known = {problem_key(example.problem) for example in training}
        shared = {example.problem for example in validation if problem_key(example.problem) in known}
        if shared:
            raise DataError(
                f"stage {name}: {len(shared)} problems stand in both {config.data.train} and {config.data.validation}, "
                f"for instance {min(shared)[:60]!r}; validation must be held out"
            )
    elif config.data.num_validation_trajectories:
        training, validation = split_by_trajectory(training, config.data.num_validation_trajectories, seed=seed)
    to_training = _srl_examples if config.kind == "srl" else _rlvr_examples
    stage = Stage(
        name=name,
        config=config,
        training=to_training(training, config, dropped),
        validation=to_training(validation, config, dropped)[: config.schedule.num_validation_examples],
        scoring=_scoring(config),
    )
    if not stage.training:
        raise DataError(f"stage {name}: {config.data.train} leaves nothing to train on; left out: {dict(dropped)}")
    return StageData(stage=stage, dropped=dict(dropped))


def _srl_examples(steps: list[StepExample], config: StageConfig, dropped: Counter[str]) -> list[TrainingExample]:
    prompt = config.prompt
    examples: list[TrainingExample] = []
    for step in steps:
        target = step.target_body if prompt.title_in_prompt and step.title else step.target_action
        if not target:
            dropped["empty_target"] += 1
            continue
        examples.append(
            TrainingExample(
                example_id=f"{step.trajectory_id}#{step.step_index}",
                prompt=step_prompt(
                    step, context_in=prompt.context_in, title_in_prompt=prompt.title_in_prompt, texts=prompt.texts
                ),
                target=target,
            )
        )
    return examples


def _rlvr_examples(steps: list[StepExample], config: StageConfig, dropped: Counter[str]) -> list[TrainingExample]:
    problems, num_without_answer = problems_of(steps)
    if num_without_answer:
        dropped["no_answer"] += num_without_answer
    return [
        TrainingExample(
            example_id=problem.problem_id,
            prompt=solve_prompt(problem.problem, texts=config.prompt.texts),
            target=problem.answer,
        )
        for problem in problems
    ]


def _scoring(config: StageConfig) -> Scoring:
    if config.kind == "rlvr":
        # Paper: 5.1 rewards the final answer and says nothing of solutions that are cut or cannot be read.
        # A solution that cannot be read or was cut is wrong, as in any evaluation; there is no further penalty.
        return Scoring(parse=parse_solution, reward=outcome_reward, format_penalty=0.0)
    reward = similarity_reward(autojunk=config.reward.autojunk, first_argument=config.reward.first_argument)
    return Scoring(parse=parse_step, reward=reward, format_penalty=config.reward.format_penalty)


def drop_long_prompts(
    data: StageData, model_config: Any, tokenizer: PreTrainedTokenizerBase
) -> tuple[StageData, list[int]]:
    """Leave out examples that do not fit into the model's window; also returns the prompt lengths of the rest."""
    window = getattr(model_config, "max_position_embeddings", None) or 2**31
    limit = window - data.stage.config.sampling.max_completion_tokens
    stage = data.stage
    examples = [*stage.training, *stage.validation]
    texts = [render(example.prompt, tokenizer) for example in examples]
    tokens = cast("list[list[int]]", tokenizer(texts, add_special_tokens=False)["input_ids"])
    lengths = [len(ids) for ids in tokens]
    fits = [length <= limit for length in lengths]
    num_training = len(stage.training)
    training = list(compress(stage.training, fits[:num_training]))
    if not training:
        raise ConfigError(
            f"stage {stage.name}: no prompt fits into the model's window of {window} tokens beside "
            f"max_completion_tokens = {window - limit}; lower it or choose another model"
        )
    shorter = replace(stage, training=training, validation=list(compress(stage.validation, fits[num_training:])))
    num_dropped = fits.count(False)
    dropped = data.dropped | ({"prompt_too_long": num_dropped} if num_dropped else {})
    return StageData(stage=shorter, dropped=dropped), list(compress(lengths[:num_training], fits))


def run_recipe(
    config: RunConfig,
    *,
    resume: bool = False,
    on_stage: Callable[[StageData], None] = lambda data: None,
    on_metrics: Callable[[Metrics], None] = lambda metrics: None,
) -> Path:
    """Train all stages; returns the folder of the final model. Everything goes to ``config.run_dir``."""
    accelerator = _accelerator()
    stages = [build_stage(name, stage, seed=config.seed) for name, stage in config.stages.items()]  # fail early
    hardware = {"device": _device_name(accelerator.device), "num_processes": accelerator.num_processes}
    if resume:
        run_dir = RunDir.open(config)
    else:
        run_dir = (
            RunDir.create(config, hardware=hardware) if accelerator.is_main_process else RunDir(Path(config.run_dir))
        )
    accelerator.wait_for_everyone()
    start: str | Path = config.model.path
    for data in stages:
        finished = final_model(run_dir.checkpoint_folder(data.stage.name))
        start = finished or _train(data, config, start, accelerator, run_dir, resume, on_stage, on_metrics)
    return Path(start)


def run_with_display(config: RunConfig, console: Console, *, resume: bool = False) -> Path:
    """``run_recipe`` with live progress in the terminal."""
    with TrainingDisplay(console) as display:

        def start_stage(data: StageData) -> None:
            stage = data.stage
            display.start_stage(
                stage.name,
                kind=stage.config.kind,
                num_training=len(stage.training),
                num_validation=len(stage.validation),
                num_updates=stage.config.schedule.num_updates,
                dropped=data.dropped,
            )

        return run_recipe(config, resume=resume, on_stage=start_stage, on_metrics=display.show)


def _train(
    data: StageData,
    config: RunConfig,
    start: str | Path,
    accelerator: Accelerator,
    run_dir: RunDir,
    resume: bool,
    on_stage: Callable[[StageData], None],
    on_metrics: Callable[[Metrics], None],
) -> Path:
    """One stage, from ``start`` or from its newest checkpoint."""
    torch.manual_seed(config.seed)
    checkpoint = latest_checkpoint(run_dir.checkpoint_folder(data.stage.name)) if resume else None
    model, tokenizer = load_policy(checkpoint or start)
    data, _ = drop_long_prompts(data, model.config, tokenizer)
    if config.model.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.to(accelerator.device)  # pyright: ignore
    reference: PreTrainedModel | None = None
    if data.stage.config.loss.beta > 0:  # the policy at the start of the stage, also when the stage is resumed
        reference = load_policy(start)[0].requires_grad_(False).eval()
        reference.to(accelerator.device)  # pyright: ignore
    engine = TransformersEngine(
        model,
        tokenizer,
        precision=config.model.precision,
        batch_size=data.stage.config.sampling.engine_batch_size,
    )
    trainer = Trainer(
        data.stage,
        model,
        tokenizer,
        engine,
        accelerator,
        run_dir,
        seed=config.seed,
        precision=config.model.precision,
        reference=reference,
        on_metrics=on_metrics,
    )
    if resume:
        trainer.resume()
    if accelerator.is_main_process:
        stage = data.stage
        run_dir.record_data(
            stage.name, num_training=len(stage.training), num_validation=len(stage.validation), dropped=data.dropped
        )
        on_stage(data)
    folder = trainer.train()
    accelerator.free_memory()
    return folder


def _accelerator() -> Accelerator:
    """Raises ConfigError when a launcher started several processes that do not know of each other.

    torchrun on a machine without a GPU does that: each process would train alone and write the same run folder.
    """
    # Given here, because a launcher's defaults would otherwise override the recipe without a word.
    accelerator = Accelerator(mixed_precision="no", gradient_accumulation_steps=1)
    plain = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
    if accelerator.distributed_type not in plain:
        raise ConfigError(f"{accelerator.distributed_type.value} is not supported; start plain data-parallel processes")
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != expected:
        raise ConfigError(
            f"{expected} processes were started, but accelerate runs {accelerator.num_processes}; on CPUs start them "
            "with ACCELERATE_USE_CPU=true or with `accelerate launch --cpu`"
        )
    return accelerator


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
