"""What ``srl quickstart`` reaches and how long it takes, for several seeds; one JSON file with everything.

    python benchmarks/quickstart.py --json benchmarks/results/quickstart.json [--seeds 0 1 2] [--compare]

The problems are the same for every seed; the seed changes the training alone. The flat ``summary`` holds, over the
seeds, the smallest gain in step accuracy, the smallest factor of stepwise solving and whether the 95 % intervals of
base and SRL-then-RLVR were apart in every seed, besides the largest wall time.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from srl.quickstart.run import quickstart
from srl.run_dir import environment, write_json
from srl.types import Score

STEPS, STEPWISE, WHOLE = "steps/greedy", "stepwise/greedy", "whole/greedy"


def measure(seed: int, folder: Path, *, compare: bool, console: Console) -> dict[str, Any]:
    """One quickstart: its scores.json with the seed."""
    run_dir = folder / f"seed-{seed}"
    quickstart(run_dir, console, seed=seed, compare=compare)
    return {"seed": seed, **json.loads((run_dir / "scores.json").read_text("utf-8"))}


def score(run: dict[str, Any], model: str, name: str) -> Score:
    """One score of one run."""
    return next(Score(**item) for item in run["models"][model] if item["name"] == name)


def are_apart(run: dict[str, Any], name: str) -> bool:
    """Whether the intervals of base and SRL-then-RLVR do not overlap, with the latter above."""
    return score(run, "base", name).high < score(run, "rlvr", name).low


def factor(run: dict[str, Any], name: str) -> float:
    """How many times as often SRL solves as the base; infinite where the base never does."""
    base, srl = score(run, "base", name).value, score(run, "srl", name).value
    return srl / base if base else math.inf


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst seed of everything."""
    worst_factor = min(factor(run, STEPWISE) for run in runs)
    return {
        "num_seeds": len(runs),
        "min_step_accuracy_gain": min(score(run, "srl", STEPS).value - score(run, "base", STEPS).value for run in runs),
        "min_stepwise_factor": worst_factor if math.isfinite(worst_factor) else None,
        "stepwise_factor_is_infinite": not math.isfinite(worst_factor),
        "stepwise_intervals_apart": all(are_apart(run, STEPWISE) for run in runs),
        "whole_intervals_apart": all(are_apart(run, WHOLE) for run in runs),
        "max_seconds": max(sum(run["seconds"].values()) for run in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--compare", action="store_true", help="also RLVR alone and SFT on the expert's actions")
    arguments = parser.parse_args()
    console = Console()
    runs: list[dict[str, Any]] = []
    about = environment({"device": "cpu", "num_threads": torch.get_num_threads()})
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            runs.append(measure(seed, Path(folder), compare=arguments.compare, console=console))
            result = {"summary": summarize(runs), "environment": about, "runs": runs}
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            write_json(arguments.json, result)
    console.print_json(data=summarize(runs))


if __name__ == "__main__":
    main()
