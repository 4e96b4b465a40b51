"""Where the time of a quickstart run goes: both stages of its recipe, as `srl quickstart` trains them.

    python benchmarks/breakdown.py --json benchmarks/results/breakdown.json [--repetitions 3]

The parts are the run's own metrics: sampling (rollouts, less what they waited for rewards), rewards, forward, backward,
optimizer, validation (which samples and scores, too), and what is left of the wall time of `run_recipe`: loading,
saving, logging, making prompts. Medians over the repetitions, which differ in their seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from srl.quickstart.run import prepare, quickstart_config
from srl.run_dir import environment, write_json
from srl.stages import run_recipe

PARTS = ("sampling", "rewards", "forward", "backward", "optimizer", "validation", "rest")


def measure(folder: Path, data: Path, seed: int) -> dict[str, float]:
    """Seconds by part, and in all."""
    config = quickstart_config(folder, data, seed=seed)
    started = time.perf_counter()
    run_recipe(config)
    total = time.perf_counter() - started
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]

    def seconds(name: str) -> float:
        return sum(line.get(f"time/{name}_seconds", 0.0) for line in lines)

    parts = {
        "sampling": seconds("rollout") - seconds("reward"),
        "rewards": seconds("reward"),
        **{name: seconds(name) for name in ("forward", "backward", "optimizer", "validation")},
    }
    return {**parts, "rest": total - sum(parts.values()), "total": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    about = environment({"device": "cpu", "num_threads": torch.get_num_threads()})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "data", Console(quiet=True), from_nothing=False)
        runs = [measure(folder / f"run-{seed}", folder / "data", seed) for seed in range(arguments.repetitions)]
    shares = {part: round(statistics.median(run[part] / run["total"] for run in runs), 4) for part in PARTS}
    summary = {
        **{f"{part}_share": share for part, share in shares.items()},
        "total_seconds": round(statistics.median(run["total"] for run in runs), 1),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, {"summary": summary, "environment": about, "runs": runs})
    Console().print_json(data=summary)


if __name__ == "__main__":
    main()
