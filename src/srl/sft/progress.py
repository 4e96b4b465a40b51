"""What happens around the updates of an sft stage: log, validate, keep the best model; a callback of SFTTrainer."""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from srl.checkpoint import Best, TrainerState, best_folder, save_model, update_folder, write_final
from srl.logprobs import completion_logprobs, pad_batch
from srl.metrics import Metrics
from srl.model_support import examine
from srl.policy import Precision, autocast
from srl.run_dir import RunDir
from srl.sft.plan import split
from srl.sft.tokens import TaughtData, TaughtExample, pad_token
from srl.stage import Stage

_BEST_BY = {
    "reward": ("validation/loss", -1.0),
    "whole": ("validation/whole_accuracy", 1.0),
    "stepwise": ("validation/stepwise_accuracy", 1.0),
}
"""``schedule.best_by`` -> the metric, and 1 where more of it is better. sft has no reward; its loss stands for it."""


class Progress(TrainerCallback):
    """Follows one stage; make it before the trainer, which changes the model's configuration."""

    def __init__(
        self,
        stage: Stage,
        data: TaughtData,
        updates: Sequence[Sequence[int]],
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        run_dir: RunDir,
        *,
        precision: Precision,
        max_tokens: int,
        solve: Callable[[], Metrics] | None,
        on_metrics: Callable[[Metrics], None],
    ) -> None:
        self._stage, self._data, self._updates = stage, data, updates
        self._model, self._tokenizer, self._run_dir = model, tokenizer, run_dir
        self._precision: Precision = precision
        self._max_tokens, self._solve, self._on_metrics = max_tokens, solve, on_metrics
        self._folder = run_dir.checkpoint_folder(stage.name)
        # SFTTrainer writes the tokenizer's special tokens into these, and what is saved decides how the next stage
        # samples and, by the padding token, what it learns.
        self._configs = copy.deepcopy((model.config, model.generation_config))
        self._head = examine(model, tries_packing=False).head
        self._best: Best | None = None
        self._num_examples = self._num_tokens = self._num_learned = 0
        self._started = time.perf_counter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Validate the model that the stage begins with."""
        self._log({"update": 0, **self._validate(0)})
        self._started = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Log an update; called once after each of them, and once at the end for the whole run."""
        if logs is None or "loss" not in logs:
            return
        seconds, update = time.perf_counter() - self._started, int(state.global_step)
        examples = [self._data.training[place] for place in self._updates[update - 1]]
        self._num_examples += len(examples)
        self._num_tokens += sum(map(len, examples))
        self._num_learned += sum(len(example.completion_ids) for example in examples)
        metrics: Metrics = {
            "update": update,
            "data/epoch": self._num_examples / len(self._data.training),
            "sft/loss": logs["loss"],
            "sft/num_examples": self._num_examples,
            "sft/num_tokens": self._num_tokens,
            "sft/num_learned_tokens": self._num_learned,
            "optimizer/learning_rate": logs["learning_rate"],
            "optimizer/grad_norm": logs["grad_norm"],
            "time/update_seconds": seconds,
        }
        if update % self._stage.config.schedule.validate_every == 0 or update == len(self._updates):
            metrics |= self._validate(update)
        self._log(metrics)
        self._started = time.perf_counter()

    def finish(self) -> Path:
        """Record what the stage hands on: the best model, or without validation the last one."""
        last = len(self._updates)
        folder = best_folder(self._folder, self._best["update"]) if self._best else update_folder(self._folder, last)
        if self._best is None:
            self._save(folder)
        write_final(self._folder, folder, cast("TrainerState", {"update": last, "best": self._best}))
        return folder

    def _validate(self, update: int) -> Metrics:
        started, metrics = time.perf_counter(), Metrics()
        if self._data.validation:
            metrics["validation/loss"] = self._loss(self._data.validation)
        if self._solve is not None:
            metrics |= self._solve()
        if not metrics:
            return {}
        # Paper: 4.2 keeps the best checkpoint on validation and names no measure; for sft ours is the loss.
        name, sign = _BEST_BY[self._stage.config.schedule.best_by]
        value = float(metrics.get(name, math.nan))
        best = -math.inf if self._best is None else sign * self._best["value"]
        if update > 0 and sign * value > best:
            self._save(best_folder(self._folder, update))
            if self._best is not None:
                shutil.rmtree(best_folder(self._folder, self._best["update"]))
            self._best = {"update": update, "value": value}
        return {**metrics, "time/validation_seconds": time.perf_counter() - started}

    @torch.no_grad()
    def _loss(self, examples: Sequence[TaughtExample]) -> float:
        """Mean negative log-probability of the completions' tokens."""
        was_training = self._model.training
        self._model.eval()
        total, count = 0.0, 0
        lengths = [len(example) for example in examples]
        for batch in split(range(len(examples)), lengths, max_tokens=self._max_tokens, packing=False):
            pairs = [(examples[place].prompt_ids.tolist(), examples[place].completion_ids.tolist()) for place in batch]
            padded = pad_batch(pairs, pad_token_id=pad_token(self._tokenizer), device=self._model.device)
            with autocast(self._model.device, self._precision):
                logprobs = completion_logprobs(self._model, padded, temperature=1.0, head=self._head)
            total -= float(logprobs[padded.completion_mask].double().sum())
            count += int(padded.completion_mask.sum())
        self._model.train(was_training)
        return total / count

    def _save(self, folder: Path) -> None:
        changed = self._model.config, self._model.generation_config
        self._model.config, self._model.generation_config = copy.deepcopy(self._configs)
        save_model(folder, self._model, self._tokenizer)
        self._model.config, self._model.generation_config = changed

    def _log(self, metrics: Metrics) -> None:
        line: Metrics = {"stage": self._stage.name, **metrics}
        self._run_dir.log(line)
        self._on_metrics(line)
