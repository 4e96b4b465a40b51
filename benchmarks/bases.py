"""What the bases of the embedded text tasks can do before any training, as shipped and with other habits.

    python benchmarks/bases.py --json benchmarks/results/bases.json [--careless 0.95 0.4] [--num-problems 256]

Step accuracy given the expert's context, and whole solutions greedily and sampled at temperature 1, on held-out
problems. With --careless the shipped base of each task is also adjusted to writers of that share of careless steps
(``srl.tasks.pretraining.adjust_base``) and measured the same way.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from srl.engines.transformers import TransformersEngine
from srl.evaluation.problems import load_problems
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits
from srl.evaluation.step_accuracy import step_accuracy
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.run_dir import environment, write_json
from srl.tasks import TASKS, write_expert_files
from srl.tasks.pretraining import adjust_base
from srl.tasks.task import TextTask
from srl.types import SamplingParams

NUM_SAMPLES = 4
BATCH = 256
TEXT_TASKS = {name: task for name, task in TASKS.items() if isinstance(task, TextTask)}
SHOWN = ("stepwise/greedy", f"stepwise/avg@{NUM_SAMPLES}", "whole/greedy", f"whole/avg@{NUM_SAMPLES}")
SEED = 2026


def measure(task: TextTask, base: Path, folder: Path, num_problems: int) -> dict[str, Any]:
    """Scores of ``base`` by name, each with its 95 % interval."""
    data = folder / "data"
    write_expert_files(task, data, num_train=1, num_validation=1, num_test=num_problems, seed=SEED)
    engine = TransformersEngine.from_pretrained(str(base), batch_size=BATCH)
    examples = load_examples(str(data / "test.jsonl"), ExampleSettings(include_last_step=True)).store
    scores: dict[str, Any] = {}
    for place in ("user", "assistant"):
        _, score = step_accuracy(
            engine, examples, context_in=place, title_in_prompt=False, max_completion_tokens=task.max_step_tokens,
            texts=task.texts,
        )  # fmt: skip
        scores[f"{score.name}, context in the {place}'s turn"] = score
    settings = EvaluationSettings(
        num_samples=NUM_SAMPLES,
        sampling=SamplingParams(temperature=1.0, max_completion_tokens=task.max_solution_tokens),
        limits=ChainLimits(max_steps=task.max_steps, max_prompt_tokens=None),
        context_in="assistant",
        texts=task.texts,
        batch_size=BATCH,
        model={"path": str(base)},
    )
    problems = load_problems(str(data / "test.jsonl"))
    solved = evaluate(engine, problems, modes=("stepwise", "whole"), settings=settings, output=folder / "evaluation")
    scores |= {score.name: score for score in solved}
    return {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in scores.items()}


def table(result: dict[str, Any]) -> str:
    """The part of docs/tasks.md between its marks, from the file that this script wrote."""
    names = (*(f"steps/greedy, context in the {place}'s turn" for place in ("user", "assistant")), *SHOWN)
    heads = ("task", "careless", "steps/greedy, user", "steps/greedy, assistant", *SHOWN)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        cells = [
            f"{100 * score['value']:.0f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"
            for score in (row["scores"][name] for name in names)
        ]
        careless = "as shipped" if row["careless"] is None else str(row["careless"])
        lines.append(f"| {row['task']} | {careless} | {' | '.join(cells)} |")
    about = result["environment"]
    return (
        "\n".join(lines)
        + f"""

Right in percent with 95 % intervals, on {result["num_problems"]} held-out problems (PyTorch
{about["versions"]["torch"]}, seed {SEED};
`python benchmarks/{about["command"]}`). *Steps*: the next
step given the expert's, word for word, with the earlier steps in the user's or the assistant's turn. *Stepwise*: the
policy's own steps fed back. *Whole*: the solution in one completion. *avg@{NUM_SAMPLES}* is sampled at temperature 1.
*careless*: `adjust_base` to that share.
"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--tasks", nargs="+", default=list(TEXT_TASKS), choices=list(TEXT_TASKS))
    parser.add_argument("--careless", type=float, nargs="*", default=[], help="shares of the adjusted bases")
    parser.add_argument("--num-updates", type=int, default=150, help="updates of an adjustment")
    parser.add_argument("--num-problems", type=int, default=256)
    arguments = parser.parse_args()
    console = Console()
    hardware = {"device": "cpu", "num_threads": torch.get_num_threads()}
    about = environment(hardware)  # before anything runs: the code that is measured, whatever is edited later
    rows: list[dict[str, Any]] = []
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    for careless in [None, *arguments.careless]:
        for name in arguments.tasks:
            task = TEXT_TASKS[name]
            with tempfile.TemporaryDirectory() as temporary:
                folder, base = Path(temporary), task.base_folder
                start = time.process_time()
                if careless is not None:
                    base = folder / "base"
                    adjust_base(task.base_folder, base, task=task, careless=careless, num_updates=arguments.num_updates)
                seconds = round(time.process_time() - start, 1)
                scores = measure(task, base, folder, arguments.num_problems)
            rows.append({"task": name, "careless": careless, "adjusting_cpu_seconds": seconds, "scores": scores})
            console.print(name, careless, seconds, {key: round(score["value"], 3) for key, score in scores.items()})
            write_json(arguments.json, {"environment": about, "num_problems": arguments.num_problems, "rows": rows})


if __name__ == "__main__":
    main()
