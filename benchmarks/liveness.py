"""Does the policy learn from the advantages, or from anything else? Real against shuffled ones, on held-out steps.

    python benchmarks/liveness.py --json benchmarks/results/liveness.json [--seeds 0 1 2]

The SRL stage of the quickstart, twice per seed: as it is, and with the advantages of every group shuffled among its
rollouts. Everything else is equal: data, dynamic sampling, size of the updates. The step accuracy on held-out steps
must rise with the real advantages and must not with the shuffled ones.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from srl.advantage import compute_advantages
from srl.engines.transformers import TransformersEngine
from srl.policy import load_policy
from srl.quickstart.run import prepare, quickstart_config
from srl.run_dir import RunDir, environment, write_json
from srl.stage_data import build_stage
from srl.trainer import Trainer

MIN_RISE, MAX_SHUFFLED_RISE = 0.15, 0.05
"""Step accuracy must rise at least, and with shuffled advantages at most, by this much."""
Advantages = Callable[[Sequence[float]], list[float]]


def shuffled(seed: int) -> Advantages:
    """Advantages of the right sizes on the wrong rollouts."""
    rng = random.Random(seed)

    def advantages(rewards: Sequence[float]) -> list[float]:
        values = compute_advantages(rewards)
        rng.shuffle(values)
        return values

    return advantages


def train(folder: Path, data: Path, seed: int, advantages: Advantages) -> dict[str, float]:
    """Held-out step accuracy before and after the stage."""
    config = quickstart_config(folder, data, seed=seed)
    stage = build_stage("srl", config.stages["srl"], seed=seed).stage
    model, tokenizer = load_policy(config.model.path)
    engine = TransformersEngine(model, tokenizer, batch_size=stage.config.sampling.engine_batch_size)
    run_dir = RunDir.create(config, hardware={"device": "cpu"})
    trainer = Trainer(
        stage, model, tokenizer, engine, Accelerator(cpu=True), run_dir,
        seed=seed, precision="float32", advantages=advantages,
    )  # fmt: skip
    trainer.train()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    accuracy = [line["validation/exact_match"] for line in lines if "validation/exact_match" in line]
    return {"before": accuracy[0], "after": accuracy[-1], "num_examples": len(stage.validation)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    console = Console()
    runs: list[dict[str, object]] = []
    about = environment({"device": "cpu"})  # before anything runs: the code that is measured, whatever is edited later
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "data", console, from_nothing=False)
        for seed in arguments.seeds:
            kinds: dict[str, Advantages] = {"real": compute_advantages, "shuffled": shuffled(seed)}
            for kind, advantages in kinds.items():
                result = train(folder / f"{kind}-{seed}", folder / "data", seed, advantages)
                runs.append({"seed": seed, "advantages": kind, **result})
                console.print(runs[-1])
    rises = {
        kind: [float(run["after"]) - float(run["before"]) for run in runs if run["advantages"] == kind]  # type: ignore[arg-type]
        for kind in ("real", "shuffled")
    }
    summary = {"min_rise_real": min(rises["real"]), "max_rise_shuffled": max(rises["shuffled"])}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, {"summary": summary, "environment": about, "runs": runs})
    console.print_json(data=summary)
    if summary["min_rise_real"] < MIN_RISE or summary["max_rise_shuffled"] > MAX_SHUFFLED_RISE:
        sys.exit("the policy does not learn from its advantages, or learns without them")


if __name__ == "__main__":
    main()
