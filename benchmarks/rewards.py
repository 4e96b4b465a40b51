"""The quickstart's SRL stage with different rewards: same base, data, seeds and number of rollouts.

    python benchmarks/rewards.py --json benchmarks/results/rewards.json [--seeds 0 1 2] [--only NAME ...]
    python benchmarks/rewards.py --json benchmarks/results/rewards.json --merge FILE FILE ...

The second form puts together what runs of the first one wrote, for instance one for each seed.

Every variant is the shipped recipe's stage ``srl`` with other [reward] settings, trained from the embedded base and
measured on the quickstart's 64 held-out problems. The steps of this task are shorter than 200 characters, where
autojunk changes nothing, so the pair with and without it is trained a second time on whole solutions (``one_step``),
which are longer. The gated variant samples the rest of each solution besides: its tokens are counted, and a second
variant of it stops when it has sampled about as many tokens as the paper's reward.

A score over several seeds counts all samples of a problem together; its 95 % interval is over problems
(evaluation/statistics.py). A difference is over the same problems, with the normal interval of its mean. Neither knows
how much one training differs from the next; the scores of the seeds are given for that.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from srl.config import RunConfig, StageConfig
from srl.evaluation.statistics import accuracy_score
from srl.quickstart.run import count_sampled_tokens, prepare, quickstart_config, score_model
from srl.reward_config import RewardConfig
from srl.run_dir import environment, write_json
from srl.stages import run_with_display

GATE = RewardConfig(outcome="gate", outcome_weight=0.5, max_finishing_tokens=288)
VARIANTS: dict[str, RewardConfig] = {
    "paper": RewardConfig(),
    "paper, autojunk on": RewardConfig(autojunk=True),
    "words": RewardConfig(similarity="words"),
    "thresholded 0.4 to 0.8": RewardConfig(thresholds=(0.4, 0.8)),
    "outcome-gated": GATE,
    "outcome-gated, as many tokens": GATE,
    "one step": RewardConfig(),
    "one step, autojunk on": RewardConfig(autojunk=True),
}
ONE_STEP = [name for name in VARIANTS if name.startswith("one step")]
BASELINES = {name: "one step" if name in ONE_STEP else "paper" for name in VARIANTS}
SCORES = ("steps/greedy", "stepwise/greedy", "stepwise/avg@4", "whole/greedy", "whole/avg@4")


def stage_for(name: str, srl: StageConfig, rlvr: StageConfig, num_updates: int) -> StageConfig:
    """The quickstart's srl stage with the variant's reward; whole solutions with the lengths of its rlvr stage."""
    schedule = replace(srl.schedule, num_updates=num_updates)
    if name not in ONE_STEP:
        return replace(srl, reward=VARIANTS[name], schedule=schedule)
    return replace(
        srl,
        reward=VARIANTS[name],
        schedule=schedule,
        data=replace(srl.data, one_step=True, include_last_step=False),
        prompt=replace(srl.prompt, context_in="user"),
        sampling=replace(srl.sampling, max_completion_tokens=rlvr.sampling.max_completion_tokens),
    )


def read_outcomes(folder: Path) -> dict[str, dict[str, list[bool]]]:
    """Right or wrong by score name and problem, from the samples of an evaluation."""
    found: dict[str, dict[str, list[bool]]] = {}
    for line in (folder / "samples.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        name = f"{record['mode']}/" + ("greedy" if record["temperature"] == 0 else "avg@4")
        found.setdefault(name, {}).setdefault(record["problem_id"], []).append(record["is_correct"])
    return found


def measure(name: str, config: RunConfig, data: Path, console: Console) -> dict[str, Any]:
    """Train one variant with one seed and score it."""
    console.rule(f"{name}, seed {config.seed}")
    started = time.perf_counter()
    model = run_with_display(config, console)
    seconds = time.perf_counter() - started
    # Scored as the quickstart scores, with the prompts of its own srl stage.
    plain = quickstart_config(Path(config.run_dir), data, seed=config.seed)
    scores = score_model(model, data, Path(config.run_dir) / "evaluation", plain, console, name)
    metrics = [json.loads(line) for line in (Path(config.run_dir) / "metrics.jsonl").read_text("utf-8").splitlines()]
    updates = [line for line in metrics if "reward/mean" in line]
    return {
        "seed": config.seed,
        "scores": [asdict(score) for score in scores],
        "outcomes": read_outcomes(Path(config.run_dir) / "evaluation"),
        "num_updates": len(updates),
        "num_rollouts": sum(line["rollout/num_rollouts"] for line in updates),
        "sampled_tokens": count_sampled_tokens(Path(config.run_dir))["srl"],
        "kept_rate": round(statistics.mean(line["sampling/kept_rate"] for line in updates), 3),
        "ungraded_rate": round(statistics.mean(line["reward/ungraded_rate"] for line in updates), 4),
        "train_seconds": round(seconds, 1),
    }


def pooled(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """One score over all seeds, and each seed's own."""
    seeds = [next(score["value"] for score in run["scores"] if score["name"] == name) for run in runs]
    found: dict[str, Any] = {"value": round(statistics.mean(seeds), 4), "seeds": [round(value, 4) for value in seeds]}
    if all(name in run["outcomes"] for run in runs):
        problems = runs[0]["outcomes"][name]
        score = accuracy_score(name, [[right for run in runs for right in run["outcomes"][name][p]] for p in problems])
        found |= {"low": round(score.low, 4), "high": round(score.high, 4)}
    return found


def difference(runs: list[dict[str, Any]], baseline: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Mean difference to the baseline with the same seeds over the same problems, with its 95 % interval."""
    seeds = [run["seed"] for run in runs]
    baseline = [run for run in baseline if run["seed"] in seeds]
    differences: list[float] = []
    for problem in runs[0]["outcomes"][name]:
        ours, theirs = (
            [right for run in part for right in run["outcomes"][name][problem]] for part in (runs, baseline)
        )
        differences.append(statistics.mean(ours) - statistics.mean(theirs))
    half = 1.96 * statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.mean(differences)
    return {"value": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def seeds_of(runs: dict[str, list[dict[str, Any]]], name: str) -> set[int]:
    """The seeds that a variant was trained with."""
    return {run["seed"] for run in runs.get(name, [])}


def merge(files: list[Path]) -> dict[str, Any]:
    """The runs of several files as one. All must be of one commit."""
    parts = [json.loads(file.read_text("utf-8")) for file in files]
    commits = {json.dumps(part["environment"]["git"]) for part in parts}
    if len(commits) > 1:
        raise SystemExit(f"the files are of different commits: {', '.join(sorted(commits))}")
    runs = {name: [run for part in parts for run in part["runs"].get(name, [])] for name in VARIANTS}
    runs = {name: sorted(of, key=lambda run: run["seed"]) for name, of in runs.items() if of}
    return {"summary": summarize(runs), "environment": parts[0]["environment"], "runs": runs}


def summarize(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """By variant: scores, differences to its baseline, and what it cost."""
    return {
        name: {
            "scores": {score: pooled(of_variant, score) for score in SCORES},
            "difference": {
                score: difference(of_variant, runs[BASELINES[name]], score)
                for score in SCORES[1:]
                if name != BASELINES[name] and {run["seed"] for run in of_variant} <= seeds_of(runs, BASELINES[name])
            },
            **{
                key: round(statistics.mean(run[key] for run in of_variant), 3)
                for key in ("num_rollouts", "sampled_tokens", "kept_rate", "ungraded_rate", "train_seconds")
            },
        }
        for name, of_variant in runs.items()
    }


def main() -> None:
    """Measure and write, after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--num-updates", type=int, default=12, help="updates of each variant")
    parser.add_argument("--merge", type=Path, nargs="+", help="put these files together, and measure nothing")
    arguments = parser.parse_args()
    console = Console()
    if arguments.merge:
        result = merge(arguments.merge)
        write_json(arguments.json, result)
        console.print_json(data=result["summary"])
        return
    about = environment({"device": "cpu", "num_threads": torch.get_num_threads()})
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prepare(data, console, from_nothing=False)
        for seed in arguments.seeds:
            for index, name in enumerate(arguments.only):
                run_dir = Path(folder) / f"{index}-{seed}"
                plain = quickstart_config(run_dir, data, seed=seed)
                num_updates = arguments.num_updates
                if name == "outcome-gated, as many tokens" and {"paper", "outcome-gated"} <= set(runs):
                    share = runs["paper"][-1]["sampled_tokens"] / runs["outcome-gated"][-1]["sampled_tokens"]
                    num_updates = max(1, round(num_updates * share))
                stage = stage_for(name, plain.stages["srl"], plain.stages["rlvr"], num_updates)
                config = replace(plain, stages={"srl": stage})
                runs.setdefault(name, []).append(measure(name, config, data, console))
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                write_json(arguments.json, {"summary": summarize(runs), "environment": about, "runs": runs})
    console.print_json(data=summarize(runs))


if __name__ == "__main__":
    main()
