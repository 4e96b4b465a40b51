"""The loop; one loop for SRL and RLVR.

For each update: collect groups until the batch is full (dynamic sampling), compute advantages, update the policy, log,
sometimes validate, sometimes save. SRL and RLVR differ in the examples and the scoring of the Stage they are given.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.advantage import compute_advantages
from srl.checkpoint import (
    TrainerState,
    best_folder,
    first_state,
    latest_checkpoint,
    load_optimizer,
    load_state,
    save_checkpoint,
    save_model,
    update_folder,
    write_final,
)
from srl.collect import GroupCollector
from srl.compute_config import TrainerConfig
from srl.dynamic_sampling import CollectedGroups, nothing_kept_message
from srl.engines import Engine
from srl.errors import SamplingError
from srl.metrics import Metrics, sampling_metrics, validation_metrics
from srl.policy import Precision
from srl.run_dir import RunDir
from srl.selection import refuse_spent_budget, select
from srl.signals.measures import settings_of_stage, signal_metrics
from srl.signals.watch import Watch
from srl.stage import Stage, own_steps_of
from srl.update import PolicyUpdater
from srl.validation import BEST_BY, solve_problems

logger = logging.getLogger("srl")


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
        advantages: Callable[[Sequence[float]], list[float]] | None = None,
    ) -> None:
        """``on_metrics`` sees every logged line; ``advantages`` replaces the objective's for an experiment.

        ``reference`` is the frozen policy of the KL term, on the right device; needed when ``loss.beta`` is above 0.
        """
        config = stage.config
        self._stage, self._config = stage, config
        self._accelerator, self._run_dir = accelerator, run_dir
        self._on_metrics = on_metrics
        self._advantages = advantages or partial(compute_advantages, scale_by_std=config.loss.scale_by_std)
        self._model, self._tokenizer = model, tokenizer
        self._engine = engine
        self._watch = Watch(stage.name)
        self._collector = GroupCollector(
            stage.name,
            config,
            stage.training,
            engine,
            stage.scoring,
            accelerator,
            seed=seed,
            problems=stage.problems,
            own_steps=own_steps_of(stage, engine),
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
            max_completion_tokens=config.sampling.max_completion_tokens,
        )
        self._saved_update = -1
        self._state: TrainerState = first_state(self._collector.state())

    def resume(self) -> None:
        """Continue after the newest checkpoint of the stage; the model must have been loaded from it."""
        checkpoint = latest_checkpoint(self._folder)
        if checkpoint is not None:
            self._state = load_state(checkpoint)
            self._saved_update = self._state["update"]
            self._select()
            self._collector.restore(self._state["collector"])
            load_optimizer(checkpoint, self._optimizer)
        if self._accelerator.is_main_process:  # one process writes the run folder, here as everywhere
            self._run_dir.forget_after(self._stage.name, self._state["update"] if checkpoint else -1)
            self._watch = Watch(self._stage.name, *self._run_dir.history(self._stage.name))

    def train(self) -> Path:
        """Run the stage to its end; returns the folder of the model that it hands on."""
        schedule = self._config.schedule
        if self._state["update"] == 0:
            self._log({"update": 0, **self._select(), **self._validate(0)})
        while not self._is_done():
            update = self._state["update"] + 1
            started = time.perf_counter()
            try:
                collected = self._collector.collect(update, self._progress)
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
            metrics = self._learn(collected, advantages, update, started)
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
        return self._used() >= 1 or self._collector.is_exhausted

    def _spent(self) -> list[float]:
        state = self._state
        return [state["update"], state["num_rollouts"], state["num_sampled_tokens"], state["seconds"]]

    def _used(self) -> float:
        return self._config.schedule.used_share(self._spent(), self._state["before"])

    @property
    def _progress(self) -> float:
        """How far the stage has come, in [0, 1]: by its limits, or by its epochs."""
        return min(1.0, max(self._used(), self._collector.epoch / self._config.schedule.num_epochs))

    def _count(self, metrics: Metrics, *, seconds: float) -> None:
        """Add what was sampled to the state; seconds only where they decide, so that equal runs have equal states."""
        # One clock for all processes, which must agree on when the stage ends.
        seconds = gather_object([seconds])[0] if self._config.schedule.max_seconds else 0.0
        self._state = {
            **self._state,
            "num_rollouts": self._state["num_rollouts"] + int(metrics["rollout/num_rollouts"]),
            "num_sampled_tokens": self._state["num_sampled_tokens"] + int(metrics["rollout/sampled_tokens"]),
            "seconds": self._state["seconds"] + seconds,
            "collector": self._collector.state(),
        }

    def _select(self) -> Metrics:
        """Choose what to draw from, where the recipe says so; the rollouts of the pass count once."""
        metrics = select(self._collector, self._run_dir, self._accelerator, self._stage.name, self._config.selection)
        if metrics and self._state["update"] == 0:
            self._count(metrics, seconds=float(metrics["time/rollout_seconds"]))
            self._state = {**self._state, "before": self._spent()}
            refuse_spent_budget(self._config.schedule, self._spent())
        return metrics

    def _learn(self, collected: CollectedGroups, advantages: list[list[float]], update: int, started: float) -> Metrics:
        """Move the policy, account for what that took since ``started``, and count it."""
        sampled = time.perf_counter()
        metrics = self._update_policy(collected, advantages, update)
        metrics |= sampling_metrics(collected)
        metrics |= {
            "data/epoch": self._collector.epoch,
            "time/rollout_seconds": sampled - started,
            "time/reward_seconds": collected.reward_seconds,
            "time/update_seconds": time.perf_counter() - sampled,
        }
        if self._collector.own_steps_rate is not None:
            metrics["sampling/own_steps_rate"] = self._collector.own_steps_rate
        steps = [group for group in collected.groups if not group.example.is_problem]
        if self._accelerator.is_main_process and steps:
            metrics |= signal_metrics(steps, settings_of_stage(self._config))
        self._count(metrics, seconds=time.perf_counter() - started)
        self._state = {**self._state, "update": update}
        return metrics

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
        groups = self._collector.roll_out_greedily(self._stage.validation, update)
        metrics = validation_metrics(groups)
        if self._stage.validation_problems is not None:
            metrics |= solve_problems(self._engine, self._stage.validation_problems, self._accelerator)
        # Paper: 4.2 keeps the best checkpoint on validation and names no measure; ours is the mean greedy reward.
        value, best = float(metrics.get(BEST_BY[self._config.schedule.best_by], math.nan)), self._state["best"]
        if update > 0 and not math.isnan(value) and (best is None or value > best["value"]):
            self._state = {**self._state, "best": {"update": update, "value": value}}
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
        metrics = sampling_metrics(collected)
        self._count(metrics, seconds=0.0)
        if collected.rejected:
            self._log({"update": update + 1, **metrics, "data/epoch": self._collector.epoch})
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
        best, update = self._state["best"], self._state["update"]
        if self._saved_update != update:
            self._save()
        model_folder = best_folder(self._folder, best["update"]) if best else update_folder(self._folder, update)
        if self._accelerator.is_main_process:
            write_final(self._folder, model_folder, self._state)
        self._accelerator.wait_for_everyone()
        return model_folder
