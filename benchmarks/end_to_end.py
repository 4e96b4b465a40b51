"""The same SRL training with our trainer and with TRL's ``GRPOTrainer``: wall time of an update.

    python benchmarks/end_to_end.py --json benchmarks/results/end_to_end.json [--num-updates 8] [--repetitions 3]

The task, the base and the settings are those of the quickstart's stage ``srl``: 24 prompts of 8 rollouts an update, at
most 64 tokens each, similarity reward with format penalty, float32, AdamW at the recipe's learning rate. Both sides get
the same prompts in the same order, start from the same weights, sample by their own means (TRL: ``model.generate``,
because vLLM needs a GPU), parse and reward by the same function, and train on every group (dynamic sampling off). TRL
gets Eq. 1 (``loss_type="grpo"``, no KL term), no gradient checkpointing, one generation batch for each update, and the
number of rows in a micro-batch with which its updates are fastest.

An update is what lies between the ends of two: sampling, rewards, gradient, step and logging. The first of every run
is left out as warm-up; nothing is validated or saved in between. The two sides run in turns. ``vs_trl`` is the median
of the repetitions' ratios, each of TRL's median seconds to ours. The reward curves show that both learn;
the samples are not the same, so the curves differ by chance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from rich.console import Console
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from srl.completion_rewards import score
from srl.compute_config import TrainerConfig
from srl.config import RunConfig
from srl.engines.transformers import TransformersEngine, render
from srl.example_stream import ExampleStream
from srl.metrics import Metrics
from srl.policy import load_policy
from srl.quickstart.run import prepare, quickstart_config
from srl.run_dir import RunDir, environment, write_json
from srl.seeds import derive_seed
from srl.stage import Stage
from srl.stage_data import build_stage
from srl.trainer import Trainer
from srl.types import Completion

STAGE = "srl"
TRL_ROWS = (16, 32, 64, 192)


@dataclass(kw_only=True)
class Run:
    """What one training took."""

    ends: list[float] = field(default_factory=list)
    """When the training began and when each update ended."""
    rollout_seconds: list[float] = field(default_factory=list)
    """Of each update: sampling, and for ours the rewards that were not there when it ended."""
    rewards: list[float] = field(default_factory=list)
    """Mean of each update."""

    @property
    def seconds(self) -> list[float]:
        """Wall time of each update but the first."""
        return [end - start for start, end in zip(self.ends[1:], self.ends[2:], strict=False)]


def make_stage(config: RunConfig, num_updates: int) -> Stage:
    """The quickstart's stage without dynamic sampling, validation and checkpoints."""
    stage = config.stages[STAGE]
    stage = replace(
        stage,
        sampling=replace(stage.sampling, dynamic=False),
        schedule=replace(
            stage.schedule, num_updates=num_updates, validate_every=10**6, save_every=10**6, rollouts_saved=0
        ),
    )
    built = build_stage(STAGE, stage, seed=config.seed).stage
    return replace(built, validation=[])


def run_ours(config: RunConfig, num_updates: int, seed: int) -> Run:
    """Our trainer, as ``srl train`` builds it."""
    stage = make_stage(config, num_updates)
    model, tokenizer = load_policy(config.model.path)
    run = Run()

    def note(metrics: Metrics) -> None:
        run.ends.append(time.perf_counter())
        if "reward/mean" in metrics:
            run.rewards.append(float(metrics["reward/mean"]))
            run.rollout_seconds.append(float(metrics["time/rollout_seconds"]))

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            stage,
            model,
            tokenizer,
            TransformersEngine(model, tokenizer, batch_size=stage.config.sampling.engine_batch_size),
            Accelerator(cpu=True),
            RunDir(Path(folder)),
            seed=seed,
            precision="float32",
            computation=TrainerConfig(),
            on_metrics=note,
        ).train()
    return run


class Clock(TrainerCallback):
    """Notes when the training begins and when each update ends."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Of transformers' trainer."""
        self._run.ends.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Of transformers' trainer."""
        self._run.ends.append(time.perf_counter())


def run_trl(config: RunConfig, num_updates: int, seed: int, rows: int) -> Run:
    """TRL's trainer on the prompts that ours draws, with our reward."""
    stage = make_stage(config, num_updates)
    sampling, optimization = stage.config.sampling, stage.config.optimizer
    model, tokenizer = load_policy(config.model.path)
    run = Run()
    stream = ExampleStream(stage.training, seed=derive_seed(seed, STAGE), num_epochs=stage.config.schedule.num_epochs)
    examples = stream.draw(num_updates * sampling.groups_per_update)
    end = int(tokenizer.eos_token_id)  # type: ignore[arg-type]

    def similarity(completions: list[str], completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float]:
        requests = [
            (Completion(text=text, token_ids=tuple(ids), finish_reason="stop" if ids[-1] == end else "length"), example)
            for text, ids, example in zip(completions, completion_ids, [examples[k] for k in place], strict=True)
        ]
        rewards = [float(item.reward) for item in score(requests, stage.scoring)]  # type: ignore[arg-type]
        run.rewards.append(statistics.mean(rewards))
        return rewards

    model.generate = timed(model.generate, run.rollout_seconds)  # type: ignore[method-assign]
    num_rollouts = sampling.groups_per_update * sampling.group_size
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=similarity,
            args=GRPOConfig(
                output_dir=folder, seed=seed, use_cpu=True, bf16=False, gradient_checkpointing=False,
                loss_type="grpo", beta=0.0, num_generations=sampling.group_size, temperature=sampling.temperature,
                max_completion_length=sampling.max_completion_tokens,
                per_device_train_batch_size=rows, gradient_accumulation_steps=num_rollouts // rows,
                learning_rate=optimization.learning_rate, lr_scheduler_type="constant",
                weight_decay=optimization.weight_decay, max_grad_norm=optimization.max_grad_norm,
                max_steps=num_updates, shuffle_dataset=False, logging_steps=1, save_strategy="no",
                disable_tqdm=True, report_to=[], dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_list(
                [{"prompt": render(one.prompt, tokenizer), "place": place} for place, one in enumerate(examples)]
            ),
            callbacks=[Clock(run)],
        )  # fmt: skip
        trainer.train()
    return run


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The function; what each call takes is added to ``seconds``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        found = function(*args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return found

    return call


def fastest_rows(config: RunConfig, choices: Sequence[int]) -> dict[int, float]:
    """TRL's seconds for an update by number of rows, in order from the fastest: the best of two after a warm-up."""
    if len(choices) == 1:
        return {choices[0]: 0.0}
    sampling = config.stages[STAGE].sampling
    num_rollouts = sampling.groups_per_update * sampling.group_size
    seconds = {rows: min(run_trl(config, 3, 0, rows).seconds) for rows in choices if num_rollouts % rows == 0}
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def describe(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over all updates of all runs but the first of each, and the curves."""
    seconds = [value for run in runs for value in run.seconds]
    rollout = [value for run in runs for value in run.rollout_seconds[1:]]
    rest = [all_of - sampled for all_of, sampled in zip(seconds, rollout, strict=True)]
    return {
        "seconds_per_update": round(statistics.median(seconds), 3),
        "rollout_seconds": round(statistics.median(rollout), 3),
        "other_seconds": round(statistics.median(rest), 3),
        "seconds_of_each": [[round(value, 3) for value in run.seconds] for run in runs],
        "mean_rewards": [round(statistics.mean(of), 3) for of in zip(*(run.rewards for run in runs), strict=True)],
        "rewards_of_each": [[round(value, 3) for value in run.rewards] for run in runs],
    }


def summarize(sides: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Ratios by name; ``vs_trl`` is the median of the repetitions' ratios, so that a slow one does not decide."""
    ours, theirs = sides["ours"], sides["trl"]
    pairs = zip(theirs["seconds_of_each"], ours["seconds_of_each"], strict=True)
    ratios = [statistics.median(of_trl) / statistics.median(own) for of_trl, own in pairs]
    return {
        "vs_trl": round(statistics.median(ratios), 2),
        "min_vs_trl": round(min(ratios), 2),
        "max_vs_trl": round(max(ratios), 2),
        "rollout_vs_trl": round(theirs["rollout_seconds"] / ours["rollout_seconds"], 2),
        "update_vs_trl": round(theirs["other_seconds"] / ours["other_seconds"], 2),
        "last_reward": ours["mean_rewards"][-1],
        "last_reward_trl": theirs["mean_rewards"][-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--num-updates", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--groups", type=int, default=0, help="prompts of an update; 0: as in the recipe")
    parser.add_argument("--trl-rows", type=int, nargs="+", default=list(TRL_ROWS), help="micro-batches to choose from")
    parser.add_argument("--summarize", type=Path, help="write the summary of this file anew, and measure nothing")
    arguments = parser.parse_args()
    console = Console()
    if arguments.summarize:
        measured = json.loads(arguments.summarize.read_text("utf-8"))
        measured["summary"] = summarize({side: measured[side] for side in ("ours", "trl")})
        write_json(arguments.summarize, measured)
        console.print_json(data=measured["summary"])
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), Console(quiet=True), from_nothing=False)
        config = quickstart_config(Path(folder) / "run", Path(folder), seed=0)
        if arguments.groups:
            stage = config.stages[STAGE]
            sampling = replace(stage.sampling, groups_per_update=arguments.groups)
            config = replace(config, stages={STAGE: replace(stage, sampling=sampling)})
        by_rows = fastest_rows(config, arguments.trl_rows)
        rows = next(iter(by_rows))
        console.print("TRL's seconds by rows of a micro-batch", by_rows, highlight=False)
        ours: list[Run] = []
        theirs: list[Run] = []
        for seed in range(arguments.repetitions):
            if seed % 2 == 0:
                ours.append(run_ours(config, arguments.num_updates, seed))
            theirs.append(run_trl(config, arguments.num_updates, seed, rows))
            if seed % 2 == 1:
                ours.append(run_ours(config, arguments.num_updates, seed))
    sides = {"ours": describe(ours), "trl": describe(theirs)}
    sampling = config.stages[STAGE].sampling
    result = {
        "summary": summarize(sides),
        "environment": environment({"device": "cpu", "num_threads": torch.get_num_threads()}),
        "settings": {
            "num_updates": arguments.num_updates,
            "repetitions": arguments.repetitions,
            "groups_per_update": sampling.groups_per_update,
            "group_size": sampling.group_size,
            "max_completion_tokens": sampling.max_completion_tokens,
            "trl_rows": rows,
            "trl_seconds_by_rows": {str(key): round(value, 2) for key, value in by_rows.items()},
        },
        **sides,
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.json, result)
    console.print_json(data=result)


if __name__ == "__main__":
    main()
