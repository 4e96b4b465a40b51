"""An update beside TRL's: tokens trained per second, and peak memory.

    python benchmarks/update.py --json benchmarks/results/update.json [--repetitions 5] [--only math agent]
    python benchmarks/update.py --json FILE --qwen-0.5b            (a GPU, bfloat16, a model of Qwen2.5-0.5B's size)

Cases (shapes.py): ``math`` and ``agent`` with examples drawn at random, G = 8, and ``math_trajectories`` and
``agent_trajectories`` with all examples of few trajectories. Sides:

    trl        TRL's loss and gradient (trl_baseline.py), with the number of rows that is fastest for it
    trl_compacted   the same, with its head on completion tokens only, as TRL does on GPUs and not on CPUs
    off        ours: padded rows (prefix_sharing = "off")
    group      ours: the prompt of a group once
    auto       ours: what several prompts begin with once, too; the default

Each runs one whole update on the same groups: layout, all micro-batches forward and backward, clipping, a step of SGD
with a learning rate of next to nothing. Ours makes micro-batches of the default number of tokens. Before anything is
timed, losses and gradients are compared, and the script ends if they differ.

Tokens per second count prompt and completion of every rollout, whether or not a side computes them; the sides run in
turns in each repetition, and a ratio is the median of the repetitions' ratios. Peak memory is that of a process of its
own, from before its first forward pass: resident memory on a CPU, allocated memory on a GPU.
``..._vs_trl`` and ``..._vs_plain`` of the summary are ``auto`` divided by ``trl`` and ``off``: larger is better for
speed, smaller for memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from shapes import AGENT, DATA, MATH, describe, load, make_groups, num_tokens, to_json
from transformers import Qwen2Tokenizer
from update_sides import OURS, SIDES, Side, Size

from srl.advantage import compute_advantages
from srl.run_dir import environment, write_json
from srl.types import RolloutGroup

TRL_ROWS = (1, 2, 4, 8, 16)
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, {"float32": 1e-3, "bfloat16": 5e-2}
SHAPES = {"math": MATH, "agent": AGENT}
CASES = ("math", "math_trajectories", "agent", "agent_trajectories")


def compare(sides: dict[str, Side], groups: list[RolloutGroup], advantages: list[list[float]]) -> dict[str, Any]:
    """Largest differences from TRL's loss and gradient (relative to its norm); ends the script where they are large.

    With every ratio at 1 the loss is minus the mean advantage, about 0, and says little: the gradient says it all.
    """
    loss, gradient = sides["trl"].gradient(groups, advantages)
    found: dict[str, Any] = {"loss": 0.0, "gradient": 0.0, "gradient_norm": float(gradient.norm())}
    for name, side in sides.items():
        own_loss, own_gradient = side.gradient(groups, advantages)
        differences = (
            ("loss", abs(own_loss - loss), LOSS_TOLERANCE),
            (
                "gradient",
                float((own_gradient - gradient).norm() / gradient.norm()),
                GRADIENT_TOLERANCE[side._size.precision],
            ),
        )
        for what, difference, tolerance in differences:
            if not difference <= tolerance:
                raise SystemExit(f"{name} and TRL differ in the {what} by {difference}; nothing was timed")
            found[what] = max(found[what], difference)
    return found


def fastest_rows(
    side: Side, choices: Sequence[int], groups: list[RolloutGroup], advantages: list[list[float]]
) -> dict[int, float]:
    """Seconds of TRL by number of rows, on two groups, in order from the fastest; the better of two runs."""
    few, their = groups[:2], advantages[:2]
    seconds: dict[int, float] = {}
    for _ in range(2):
        for rows in choices:
            if sum(len(group.rollouts) for group in few) % rows == 0:
                side.rows = rows
                seconds[rows] = min(seconds.get(rows, float("inf")), side.seconds(few, their))
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def measure(
    name: str,
    groups: list[RolloutGroup],
    tokenizer: Qwen2Tokenizer,
    size: Size,
    console: Console,
    *,
    repetitions: int,
    trl_rows: Sequence[int],
) -> dict[str, Any]:
    """All sides on one case; ``trl_rows`` are the numbers of rows that TRL may choose from."""
    advantages = [compute_advantages(group.rewards) for group in groups]
    group_size = len(groups[0].rollouts)
    sides = {side: Side(side, size, tokenizer, group_size) for side in SIDES}
    by_rows = fastest_rows(sides["trl"], trl_rows, groups, advantages)
    rows = next(iter(by_rows))
    console.print(f"{name}: TRL's fastest micro-batch has {rows} rows", by_rows, highlight=False)
    sides["trl"].rows = sides["trl_compacted"].rows = rows
    differences = compare(sides, groups, advantages)  # also warms up
    console.print(name, "differences", differences, highlight=False)
    tokens = num_tokens(groups)
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for repetition in range(repetitions):
        turn = repetition % len(SIDES)
        for side in (*SIDES[turn:], *SIDES[:turn]):  # another one first each time
            rates[side].append(tokens / sides[side].seconds(groups, advantages))
    metrics = {
        side: {key: round(value, 3) for key, value in sides[side].metrics.items() if key.startswith("update/")}
        for side in OURS
    }
    del sides
    peaks = peak_memory(groups, tokenizer, size, rows)
    return {
        "shape": describe(groups),
        "trl_rows": rows,
        "trl_seconds_by_rows_on_two_groups": {str(key): round(value, 2) for key, value in by_rows.items()},
        "differences": differences,
        "tokens_per_second": {side: round(statistics.median(of)) for side, of in rates.items()},
        "tokens_per_second_of_each": {side: [round(rate) for rate in of] for side, of in rates.items()},
        "ratios": {f"{a}_vs_{b}": ratio(rates[a], rates[b]) for a in OURS for b in SIDES if a != b},
        "peak_megabytes": {side: round(peak / 1e6, 1) for side, peak in peaks.items()},
        "metrics": metrics,
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the repetitions' ratios."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2)


def peak_memory(groups: list[RolloutGroup], tokenizer: Qwen2Tokenizer, size: Size, rows: int) -> dict[str, float]:
    """Bytes by side; on a CPU each side in a fresh process. ``trl_1_row`` is TRL with the least memory."""
    wanted = {side: (side, rows) for side in SIDES} | {"trl_1_row": ("trl", 1)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        tokenizer.save_pretrained(path)
        found: dict[str, float] = {}
        for label, (side, side_rows) in wanted.items():
            task = {"size": asdict(size), "side": side, "rows": side_rows, "groups": to_json(groups)}
            (path / "task.json").write_text(json.dumps(task), "utf-8")
            command = [sys.executable, str(Path(__file__).with_name("update_sides.py")), str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[label] = float(done.stdout.splitlines()[-1])
    return found


def summarize(cases: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Ratios by name; see the module's docstring."""
    summary: dict[str, float] = {}
    for name, case in cases.items():
        peaks, ratios = case["peak_megabytes"], case["ratios"]
        for other, label in (("trl", "trl"), ("off", "plain"), ("trl_compacted", "trl_compacted")):
            summary[f"{name}_vs_{label}"] = ratios[f"auto_vs_{other}"]
            summary[f"{name}_group_vs_{label}"] = ratios[f"group_vs_{other}"]
            summary[f"{name}_peak_memory_vs_{label}"] = round(peaks["auto"] / peaks[other], 3)
        summary[f"{name}_plain_vs_trl"] = ratios["off_vs_trl"]
        summary[f"{name}_peak_memory_vs_trl_1_row"] = round(peaks["auto"] / peaks["trl_1_row"], 3)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with math/ and swe/")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--math-groups", type=int, default=4, help="prompts of an update")
    parser.add_argument("--agent-groups", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256, help="width of the model; heads of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--qwen-0.5b", dest="qwen", action="store_true", help="on a GPU, in bfloat16")
    parser.add_argument("--trl-rows", type=int, nargs="+", default=list(TRL_ROWS), help="micro-batches to choose from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = Size(
        hidden=arguments.hidden,
        layers=arguments.layers,
        qwen=arguments.qwen,
        device="cuda" if arguments.qwen else "cpu",
        precision="bfloat16" if arguments.qwen else "float32",
    )
    console = Console()
    device = torch.cuda.get_device_name() if size.device == "cuda" else "cpu"
    result: dict[str, Any] = {
        "summary": {},
        "environment": environment({"device": device, "num_threads": torch.get_num_threads()}),
        "settings": {"repetitions": arguments.repetitions, "seed": arguments.seed, **asdict(size)},
        "cases": {},
    }
    for name in arguments.only:
        kind, _, drawn = name.partition("_")
        groups = make_groups(
            SHAPES[kind],
            arguments.math_groups if kind == "math" else arguments.agent_groups,
            drawn=cast("Any", drawn or "random"),
            group_size=8,
            seed=arguments.seed,
            data=arguments.data,
        )
        tokenizer = load(SHAPES[kind], arguments.data).tokenizer
        result["cases"][name] = measure(
            name, groups, tokenizer, size, console, repetitions=arguments.repetitions, trl_rows=arguments.trl_rows
        )
        result["summary"] = summarize(result["cases"])
        console.print_json(data=result["cases"][name])
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            write_json(arguments.json, result)
    console.print_json(data=result["summary"])


if __name__ == "__main__":
    main()
