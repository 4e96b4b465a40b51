"""Recipe -> stages -> trained policy, each stage starting from the weights of the one before.

What a stage hands on is always read back from its checkpoint folder, so a resumed run and an uninterrupted one take
the same path.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from rich.console import Console
from transformers import PreTrainedModel

from srl.checkpoint import final_model, latest_checkpoint
from srl.config import RunConfig
from srl.display import TrainingDisplay
from srl.engines.transformers import TransformersEngine
from srl.errors import ConfigError
from srl.metrics import Metrics
from srl.policy import load_policy
from srl.run_dir import RunDir
from srl.sft.plan import count_draws
from srl.sft.tokens import tokenize_stage
from srl.sft.train import check_can_train, train_sft
from srl.stage import Stage
from srl.stage_data import StageData, build_stage, fit_prompts
from srl.trainer import Trainer
from srl.validation import solve_problems


def run_recipe(
    config: RunConfig,
    *,
    resume: bool = False,
    on_stage: Callable[[StageData], None] = lambda data: None,
    on_metrics: Callable[[Metrics], None] = lambda metrics: None,
) -> Path:
    """Train all stages; returns the folder of the final model. Everything goes to ``config.run_dir``."""
    accelerator = _accelerator()
    if any(stage.kind == "sft" for stage in config.stages.values()):
        check_can_train(accelerator)
    stages = [
        build_stage(name, stage, seed=config.seed, model_path=config.model.path, run_dir=config.run_dir)
        for name, stage in config.stages.items()
    ]  # fail early
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
        train = _train_sft if data.stage.config.kind == "sft" else _train
        start = finished or train(data, config, start, accelerator, run_dir, resume, on_stage, on_metrics)
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
                num_updates=_known_updates(stage),
                dropped=data.dropped,
            )

        return run_recipe(config, resume=resume, on_stage=start_stage, on_metrics=display.show)


def _known_updates(stage: Stage) -> int:
    """How many updates the stage makes, 0 where only tokens will tell."""
    if stage.config.kind != "sft":
        return stage.config.schedule.num_updates
    settings = stage.config.sft
    if settings.num_tokens:
        return 0
    draws = count_draws([1] * len(stage.training), settings)
    return math.ceil(draws / settings.batch_size)


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
    """One stage of srl or rlvr, from ``start`` or from its newest checkpoint."""
    torch.manual_seed(config.seed)
    checkpoint = latest_checkpoint(run_dir.checkpoint_folder(data.stage.name)) if resume else None
    model, tokenizer = load_policy(checkpoint or start)
    data, _ = fit_prompts(data, model.config, tokenizer)
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
        computation=config.trainer,
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


def _train_sft(
    data: StageData,
    config: RunConfig,
    start: str | Path,
    accelerator: Accelerator,
    run_dir: RunDir,
    resume: bool,
    on_stage: Callable[[StageData], None],
    on_metrics: Callable[[Metrics], None],
) -> Path:
    """One stage of sft, from ``start``; one that was killed starts anew."""
    del resume
    model, tokenizer = load_policy(start)
    data, _ = fit_prompts(data, model.config, tokenizer)
    data, taught = tokenize_stage(data, model.config, tokenizer)
    model.to(accelerator.device)  # pyright: ignore
    stage = data.stage
    solve: Callable[[], Metrics] | None = None
    if stage.validation_problems is not None:
        engine = TransformersEngine(
            model, tokenizer, precision=config.model.precision, batch_size=stage.config.sampling.engine_batch_size
        )
        solve = partial(solve_problems, engine, stage.validation_problems)
    run_dir.record_data(
        stage.name, num_training=len(stage.training), num_validation=len(stage.validation), dropped=data.dropped
    )
    on_stage(data)
    folder = train_sft(
        stage,
        taught,
        model,
        tokenizer,
        accelerator,
        run_dir,
        seed=config.seed,
        computation=config.model,
        max_tokens=config.trainer.max_tokens_per_micro_batch,
        solve=solve,
        on_metrics=on_metrics,
    )
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
