"""A synthetic run folder as training writes it: two stages, scores, rollouts and warnings of every kind."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest

from srl.parsing import parse_solution, parse_step
from srl.prompts import DEFAULT_TEXTS
from srl.recipe import config_from_dict, config_to_json
from srl.rewards.similarity import sequence_similarity

NUM_UPDATES = {"srl": 40, "rlvr": 20}
STAGES = {
    "srl": {"kind": "srl", "data": {"train": "quickstart:expert"}, "schedule": {"num_updates": 40}},
    "rlvr": {"kind": "rlvr", "data": {"train": "quickstart:problems"}, "schedule": {"num_updates": 20}},
}
SCORES = {"steps/greedy": (0.62, 0.84, 0.83), "steps/avg@8": (0.55, 0.8, 0.79), "whole/greedy": (0.12, 0.47, 0.56)}


WARNING = {
    "stage": "srl", "update": 3, "code": "context_copies", "severity": 0.4, "message": "40% of the actions are copies.",
}  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "quickstart")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    return lambda name="run", **options: make_run(tmp_path / name, **options)


def make_run(
    run_dir: Path,
    *,
    seed: int = 0,
    num_updates: dict[str, int] | None = None,
    reward: dict[str, Any] | None = None,
    is_old: bool = False,
) -> Path:
    """Write the folder and return it; ``reward`` is the srl stage's table, an old run lacks what came later."""
    rng = random.Random(seed)
    (run_dir / "rollouts").mkdir(parents=True)
    stages = STAGES | {"srl": STAGES["srl"] | {"reward": reward or {}}}
    config = config_from_dict(
        {"run_dir": str(run_dir), "seed": seed, "model": {"path": "quickstart:base"}, "stages": stages}, name="test"
    )
    (run_dir / "config.json").write_text(config_to_json(config))
    environment = {
        "versions": {"srl": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "transformers": "5.17.1"},
        "git": {"commit": "234d74e6f1b2c3d4e5f60718293a4b5c6d7e8f90", "dirty": True},
        "hardware": {"platform": "Linux-6.8-x86_64", "cpu_count": 2, "device": "cpu"},
        "started": "2026-11-20T09:14:03+00:00",
        "command": "srl train recipes/quickstart.toml",
    }
    (run_dir / "environment.json").write_text(json.dumps(environment))
    with (run_dir / "metrics.jsonl").open("w") as metrics:
        for stage, count in (num_updates or NUM_UPDATES).items():
            for update in range(count + 1):
                line = _metrics(rng, stage, update, count) | ({} if is_old or not update else _signals(stage, update))
                metrics.write(json.dumps(line) + "\n")
                if update:
                    groups = [_group(rng, stage, update, update / count) for _ in range(4)]
                    if not is_old:
                        groups = [_with_later_fields(group, reward or {}) for group in groups]
                    path = run_dir / "rollouts" / f"{stage}-{update:05d}.jsonl"
                    path.write_text("".join(json.dumps(group) + "\n" for group in groups))
    if not is_old:
        (run_dir / "warnings.jsonl").write_text(json.dumps(WARNING) + "\n")
    (run_dir / "scores.json").write_text(json.dumps(_scores()))
    return run_dir


def _signals(stage: str, update: int) -> dict[str, float]:
    signals = {"signals/duplicate_rate": 0.25, "signals/reward_length_correlation": -0.1}
    signals |= {"rollout/monologue_characters": 30.0 + update, "reward/ungraded_rate": 0.02}
    if stage == "srl":
        copies = {"signals/context_copy_rate": 0.4 / update, "signals/several_steps_rate": 0.05}
        signals |= copies | {"signals/length_ratio": 1.0}
    return signals


def _with_later_fields(group: dict[str, Any], reward: dict[str, Any]) -> dict[str, Any]:
    """The step that was asked for, an ungraded rollout, a parrot, and in a gated run the outcomes."""
    rng = random.Random(json.dumps(group))
    if group["stage"] == "srl":
        start = group["prompt"]["messages"][1]["content"].partition("x = ")[2]
        earlier = f"1. **Start** We begin with the number that the problem gives: x = {start}"
        following = "3. **Multiply** Then the product is taken, as the problem asks."
        group["step"] = {
            "kind": "solution", "step_index": 1, "num_steps": 3, "context": [earlier], "next_action": following,
        }  # fmt: skip
        action = rng.choice([earlier, f"{group['target']}\n\n{following}"])
        parrot = {"text": f"<think></think>{action}", "finish_reason": "stop", "status": "ok", "monologue": ""}
        value = sequence_similarity(action, group["target"])
        group["rollouts"].append(parrot | {"action": action, "reward": value})
        if group["advantages"] is not None:
            group["advantages"].append(0.0)
        for rollout in group["rollouts"]:
            if "outcome" in reward and rollout["status"] == "ok":
                rollout["outcome"] = float(rollout["action"].endswith(group["target"][-2:]))
                rollout["reward"] *= 0.5 + 0.5 * rollout["outcome"]
    lost = {"text": "<think></think>9", "finish_reason": "stop", "status": "ok", "monologue": "", "action": "9"}
    group["ungraded"] = [lost | {"reason": rng.choice(["deadline", "memory"])}]
    group["kept_by_format_only"] = False
    return group


def _metrics(rng: random.Random, stage: str, update: int, count: int) -> dict[str, Any]:
    progress = 1 - math.exp(-3 * update / count)
    top = 0.4 if stage == "srl" else 0.45
    line: dict[str, Any] = {"stage": stage, "update": update}
    if update % 10 == 0:
        line |= {"validation/reward": 0.5 + top * 0.9 * progress, "validation/exact_match": 0.3 + top * progress}
    if update == 0:
        return line
    return line | {
        "reward/mean": 0.45 + top * progress + rng.gauss(0, 0.02),
        "reward/std": 0.35 - 0.2 * progress,
        "reward/group_std": 0.25 - 0.15 * progress,
        "rollout/format_error_rate": max(0.0, 0.12 * (1 - progress) + rng.gauss(0, 0.01)),
        "rollout/truncated_rate": max(0.0, 0.04 * (1 - progress)),
        "rollout/completion_tokens": 31 + 8 * progress + rng.gauss(0, 0.7) + (90 if stage == "rlvr" else 0),
        "sampling/kept_rate": 0.95 - 0.4 * progress + rng.gauss(0, 0.03),
        "sampling/kept_by_format_only_rate": max(0.0, 0.1 * (1 - progress) + rng.gauss(0, 0.01)),
        "optimizer/grad_norm": 0.8 + rng.random() * 0.4,
        "optimizer/learning_rate": 2e-4,
        "time/rollout_seconds": 1.1 + rng.random() * 0.2,
        "time/update_seconds": 0.9 + rng.random() * 0.2,
        "a/key/of/the/future": 1.0,
    }


def _group(rng: random.Random, stage: str, update: int, progress: float) -> dict[str, Any]:
    start, add, factor = rng.randint(11, 49), rng.randint(12, 39), rng.randint(2, 9)
    problem = f"Start with {start}. Add {add}, then multiply by {factor}. What is the result?"
    total = start + add
    target = f"2. **Add {add}** {start} + {add} = {total}" if stage == "srl" else str(total * factor)
    parse = parse_step if stage == "srl" else parse_solution
    rollouts: list[dict[str, Any]] = []
    for _ in range(8):
        text, finish_reason = _completion(rng, stage, progress, (start, add, factor))
        parsed = parse(text, finish_reason)
        reward = -1.0 if stage == "srl" else 0.0
        if parsed.status == "ok":
            answer_is_right = parsed.action.endswith(f"{{{target}}}")
            reward = sequence_similarity(parsed.action, target) if stage == "srl" else float(answer_is_right)
        parts = {"status": parsed.status, "monologue": parsed.monologue, "action": parsed.action}
        rollouts.append({"text": text, "finish_reason": finish_reason, "reward": reward} | parts)
    rewards = [rollout["reward"] for rollout in rollouts]
    std = pstdev(rewards)
    system = DEFAULT_TEXTS.step_system if stage == "srl" else DEFAULT_TEXTS.solve_system
    context = f"\n\nSolution so far:\n\n1. **Start** x = {start}" if stage == "srl" else ""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": problem + context}]
    return {
        "stage": stage,
        "update": update,
        "example_id": f"train-{rng.randint(0, 99):04d}#1",
        "prompt": {"messages": messages, "assistant_prefix": ""},
        "target": target,
        "kept": std > 0.01,
        "advantages": [(reward - fmean(rewards)) / std for reward in rewards] if std > 0.01 else None,
        "rollouts": rollouts,
    }


def _completion(rng: random.Random, stage: str, progress: float, numbers: tuple[int, int, int]) -> tuple[str, Any]:
    start, add, factor = numbers
    total = start + add + (0 if rng.random() < 0.4 + 0.5 * progress else rng.choice([-10, 10, 1]))
    thought = f"<think>{start % 10} + {add % 10} = {start % 10 + add % 10}, carry it; tens next: {total}</think>"
    if rng.random() < 0.1 * (1 - progress):
        return rng.choice([(f"{start} + {add} = {total}", "stop"), (thought[:30], "length"), (thought, "stop")])
    step = f" 2. **Add {add}** {start} + {add} = {total}"
    if stage == "srl":
        return thought + step, "stop"
    return f"{thought} x = {start}. {step.strip()}. Multiply: \\boxed{{{total * factor}}}", "stop"


def _scores() -> dict[str, Any]:
    models: dict[str, list[dict[str, Any]]] = {}
    for index, model in enumerate(("base", "srl", "rlvr")):
        models[model] = []
        for name, values in SCORES.items():
            half = 1.96 * math.sqrt(values[index] * (1 - values[index]) / 200)
            samples = 1600 if "avg@8" in name else 200
            interval = {"low": max(0.0, values[index] - half), "high": min(1.0, values[index] + half)}
            counts = {"num_problems": 200, "num_samples": samples}
            models[model].append({"name": name, "value": values[index]} | interval | counts)
    seconds = {"base": 12.4, "srl": 11.9, "rlvr": 12.2}
    return {"problems": "200 held-out test problems", "models": models, "seconds": seconds}
