"""The loop; one loop for SRL and RLVR.

For each update: collect groups until the batch is full (dynamic sampling), compute advantages, update the policy, log,
sometimes validate, sometimes save. SRL and RLVR differ in the examples and the scoring of the Stage they are given.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.advantage import compute_advantages
from srl.checkpoint import (
    TrainerState,
    best_folder,
    latest_checkpoint,
    load_optimizer,
    load_state,
    save_checkpoint,
    save_model,
    update_folder,
    write_final,
)
from srl.collect import GroupCollector
from srl.completion_rewards import Scoring
from srl.compute_config import TrainerConfig
from srl.config import StageConfig
from srl.dynamic_sampling import CollectedGroups, nothing_kept_message
from srl.engines import Engine
from srl.errors import SamplingError
from srl.metrics import Metrics, sampling_metrics, validation_metrics
from srl.policy import Precision
from srl.run_dir import RunDir
from srl.signals.measures import settings_of_stage, signal_metrics
from srl.signals.watch import Watch
from srl.types import TrainingExample
from srl.update import PolicyUpdater

logger = logging.getLogger("srl")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage, ready to train."""

    name: str
    """Its name in the recipe."""
    config: StageConfig
    """Its settings."""
    training: Sequence[TrainingExample]
    """What is drawn from."""
    validation: Sequence[TrainingExample]
    """Held-out examples; [] without validation."""
    scoring: Scoring
    """How completions become rewards."""


class Trainer:
    """Trains one stage from the weights that ``model`` has; see ``train``."""

    def __init__(
        self,
        stage: Stage,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        engine: Engine,
        accelerator: Accelerator,
        run_dir: RunDir,
        *,
        seed: int,
        precision: Precision,
        reference: nn.Module | None = None,
        computation: TrainerConfig | None = None,
        on_metrics: Callable[[Metrics], None] = lambda metrics: None,
        advantages: Callable[[Sequence[float]], list[float]] = compute_advantages,
    ) -> None:
        """``on_metrics`` sees every logged line; ``advantages`` is there for experiments, such as shuffled ones.

        ``reference`` is the frozen policy of the KL term, on the right device; needed when ``loss.beta`` is above 0.
        """
        config = stage.config
        self._stage, self._config = stage, config
        self._accelerator, self._run_dir = accelerator, run_dir
        self._on_metrics, self._advantages = on_metrics, advantages
        self._model, self._tokenizer = model, tokenizer
        self._watch = Watch(stage.name)
        self._collector = GroupCollector(
            stage.name, config, stage.training, engine, stage.scoring, accelerator, seed=seed
        )
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
        )
        wrapped: Any = accelerator.prepare_model(model)
        self._optimizer: Any = accelerator.prepare_optimizer(optimizer)
        self._updater = PolicyUpdater(
            wrapped,
            self._optimizer,
            accelerator,
            loss=config.loss,
            optimization=config.optimizer,
            trainer=computation or TrainerConfig(),
            precision=precision,
            temperature=config.sampling.temperature,
            pad_token_id=int(tokenizer.pad_token_id),  # pyright: ignore
            reference=reference,
        )
        self._saved_update = -1
        self._state: TrainerState = {"update": 0, "num_rollouts": 0, "stream": self._collector.state(), "best": None}

    def resume(self) -> None:
        """Continue after the newest checkpoint of the stage; the model must have been loaded from it."""
        checkpoint = latest_checkpoint(self._folder)
        if checkpoint is not None:
            self._state = load_state(checkpoint)
            self._saved_update = self._state["update"]
            self._collector.restore(self._state["stream"])
            load_optimizer(checkpoint, self._optimizer)
        if self._accelerator.is_main_process:  # one process writes the run folder, here as everywhere
            self._run_dir.forget_after(self._stage.name, self._state["update"] if checkpoint else -1)
            self._watch = Watch(self._stage.name, *self._run_dir.history(self._stage.name))

    def train(self) -> Path:
        """Run the stage to its end; returns the folder of the model that it hands on."""
        schedule = self._config.schedule
        if self._state["update"] == 0:
            self._log({"update": 0, **self._validate(0)})
        while not self._is_done():
            update = self._state["update"] + 1
            started = time.perf_counter()
            try:
                collected = self._collector.collect(update)
            except SamplingError:
                if self._state["update"] > 0:
                    self._save()  # what was learned so far is not lost with the run
                raise
            if not collected.kept:  # the data is used up
                if self._state["update"] == 0:
                    raise SamplingError(nothing_kept_message(collected.rejected, self._config.sampling.min_reward_std))
                self._log_rest(collected)
                break
            advantages = [self._advantages(group.rewards) for group in collected.kept]
            sampled = time.perf_counter()
            metrics = self._update_policy(collected, advantages, update)
            metrics |= sampling_metrics(collected)
            metrics |= {
                "data/epoch": self._collector.epoch,
                "time/rollout_seconds": sampled - started,
                "time/reward_seconds": collected.reward_seconds,
                "time/update_seconds": time.perf_counter() - sampled,
            }
            if self._accelerator.is_main_process:
                metrics |= signal_metrics(collected.groups, settings_of_stage(self._config))
            num_rollouts = self._state["num_rollouts"] + int(metrics["rollout/num_rollouts"])
            self._state = {
                "update": update,
                "num_rollouts": num_rollouts,
                "stream": self._collector.state(),
                "best": self._state["best"],
            }
            if update % schedule.validate_every == 0 or self._is_done():
                metrics |= self._validate(update)
            self._log({"update": update, **metrics})
            self._save_rollouts(update, collected, advantages)
            if update % schedule.save_every == 0:
                self._save()
        return self._finish()

    @property
    def _folder(self) -> Path:
        return self._run_dir.checkpoint_folder(self._stage.name)

    def _is_done(self) -> bool:
        schedule, state = self._config.schedule, self._state
        out_of_updates = 0 < schedule.num_updates <= state["update"]
        out_of_rollouts = 0 < schedule.max_rollouts <= state["num_rollouts"]
        return out_of_updates or out_of_rollouts or self._collector.is_exhausted

    def _update_policy(self, collected: CollectedGroups, advantages: list[list[float]], update: int) -> Metrics:
        if collected.num_carried == 0:
            return self._updater.update(collected.kept, advantages, update)
        off_policy = [place < collected.num_carried for place in range(len(collected.kept))]
        return self._updater.update(collected.kept, advantages, update, off_policy=off_policy)

    def _validate(self, update: int) -> Metrics:
        """Greedy completions on the validation examples; keeps the model if it is the best so far."""
        if not self._stage.validation:
            return {}
        started = time.perf_counter()
        # Paper: 4.2 keeps the best checkpoint on validation and names no measure; ours is the mean greedy reward.
        groups = self._collector.roll_out_greedily(self._stage.validation, update)
        metrics = validation_metrics(groups)
        reward, best = float(metrics.get("validation/reward", math.nan)), self._state["best"]
        if update > 0 and not math.isnan(reward) and (best is None or reward > best["reward"]):
            self._state = {**self._state, "best": {"update": update, "reward": reward}}
            if self._accelerator.is_main_process:
                save_model(best_folder(self._folder, update), self._model, self._tokenizer)
        return {**metrics, "time/validation_seconds": time.perf_counter() - started}

    def _log(self, metrics: Metrics) -> None:
        line: Metrics = {"stage": self._stage.name, **metrics}
        if self._accelerator.is_main_process:
            warnings = self._watch.look(line)
            self._run_dir.log(line, warnings)
            for warning in warnings:
                logger.warning("%s update %d: %s", warning.stage, warning.update, warning.message)
            self._on_metrics(line)

    def _log_rest(self, collected: CollectedGroups) -> None:
        """Account for a last draw that kept nothing, and validate the last update if that has not been done."""
        update = self._state["update"]
        num_rollouts = self._state["num_rollouts"] + len(collected.rejected) * self._config.sampling.group_size
        self._state = {**self._state, "num_rollouts": num_rollouts, "stream": self._collector.state()}
        if collected.rejected:
            self._log({"update": update + 1, **sampling_metrics(collected), "data/epoch": self._collector.epoch})
            self._save_rollouts(update + 1, collected, [])
        if update % self._config.schedule.validate_every:
            self._log({"update": update, **self._validate(update)})
        self._saved_update = -1  # what was saved with the update lacks these counts

    def _save_rollouts(self, update: int, collected: CollectedGroups, advantages: Sequence[list[float]]) -> None:
        """The first kept groups and, when there are any, one rejected one."""
        limit, sampling = self._config.schedule.rollouts_saved, self._config.sampling
        shown = sorted(collected.rejected, key=lambda group: not group.ungraded)[:1]  # one without rewards, if any
        rejected = [(group, None) for group in shown]
        kept = list(zip(collected.kept, advantages, strict=True))
        if self._accelerator.is_main_process:
            self._run_dir.save_rollouts(
                self._stage.name,
                update,
                [*kept[: max(0, limit - len(rejected))], *rejected][:limit],
                min_reward_std=sampling.min_reward_std if sampling.dynamic else 0.0,
            )

    def _save(self) -> None:
        self._saved_update = self._state["update"]
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            save_checkpoint(self._folder, self._model, self._tokenizer, self._optimizer, self._state)
        self._accelerator.wait_for_everyone()

    def _finish(self) -> Path:
        """Save, and hand on the best model by validation or, without validation, the last one."""
        best = self._state["best"]
        last = update_folder(self._folder, self._state["update"])
        if self._saved_update != self._state["update"]:
            self._save()
        model_folder = best_folder(self._folder, best["update"]) if best else last
        if self._accelerator.is_main_process:
            write_final(self._folder, model_folder, self._state)
        self._accelerator.wait_for_everyone()
        return model_folder
