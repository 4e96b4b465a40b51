"""How the time of an update grows with prompt length and group size, and what share of the machine it uses.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json [--repetitions 3] [--device cuda]

One update of one group: prompts of 128 to 8,192 tokens with G = 8, and G from 2 to 32 at 1,024 tokens;
completions of 64 to 192 tokens. "off" computes every rollout as a row of its own; "auto" the prompt once.

Model FLOPs are those of the algorithm, whatever the code does: 2 per weight and token forward and twice that backward
for the layers (tokens that must be computed: the prompt once and every completion), the same for the output layer on
the tokens that predict a completion, and 4 per head dimension for every pair of tokens that see each other. MFU divides
them by the time and by the fastest of the matrix products that are measured between the shapes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from srl.compute_config import TrainerConfig
from srl.policy import Precision
from srl.run_dir import environment, write_json
from srl.training_config import LossConfig, OptimizerConfig
from srl.types import ChatPrompt, Completion, ParsedCompletion, ParseStatus, Rollout, RolloutGroup, TrainingExample
from srl.update import PolicyUpdater

PROMPT_LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
GROUP_SIZES = (2, 4, 8, 16, 32)
SHAPES = [(length, 8) for length in PROMPT_LENGTHS] + [(1024, size) for size in GROUP_SIZES if size != 8]
COMPLETION_LENGTHS = (64, 192)
MAX_PADDED_TOKENS = 18_000
"""Padded rows of more tokens are not run: they take minutes and the memory of the whole machine."""
SIZES = {
    "cpu": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 8192},
    "cuda": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True},
}  # fmt: skip
"""Random weights; on a GPU the sizes of Qwen2.5-0.5B."""


def make_group(prompt_length: int, group_size: int, vocab_size: int) -> RolloutGroup:
    """One prompt of random tokens and completions of mixed lengths."""
    rng = random.Random(prompt_length * 100 + group_size)
    rollouts = tuple(
        Rollout(
            completion=Completion(
                text="", finish_reason="stop",
                token_ids=tuple(rng.randrange(vocab_size) for _ in range(rng.randint(*COMPLETION_LENGTHS))),
            ),
            parsed=ParsedCompletion(status=ParseStatus.OK, monologue="", action="x"), reward=rng.random(),
        )
        for _ in range(group_size)
    )  # fmt: skip
    return RolloutGroup(
        example=TrainingExample(example_id="e", prompt=ChatPrompt(messages=()), target=""),
        prompt_token_ids=tuple(rng.randrange(vocab_size) for _ in range(prompt_length)),
        rollouts=rollouts,
    )


def model_flops(group: RolloutGroup, model: PreTrainedModel) -> float:
    """Forward and backward of the group, see above."""
    config = model.config
    prompt = len(group.prompt_token_ids)
    completions = [len(rollout.completion.token_ids) for rollout in group.rollouts]
    inner = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and ".layers." in name]
    layers = sum(weight.numel() for weight in inner) * (prompt + sum(completions))
    head = config.hidden_size * config.vocab_size * sum(completions)
    pairs = prompt**2 / 2 + sum(length * prompt + length**2 / 2 for length in completions)
    attention = 2 * config.hidden_size * config.num_hidden_layers * pairs
    return 3.0 * 2 * (layers + head + attention)


def updater_for(model: PreTrainedModel, sharing: Any, precision: Precision) -> PolicyUpdater:
    """Updates that move nothing, with micro-batches of the default number of tokens (a longer sequence is one)."""
    return PolicyUpdater(
        model, torch.optim.SGD(model.parameters(), lr=0.0), Accelerator(cpu=model.device.type == "cpu"),
        loss=LossConfig(), optimization=OptimizerConfig(learning_rate=1e-30), precision=precision, temperature=1.0,
        trainer=TrainerConfig(prefix_sharing=sharing), pad_token_id=0, reference=None,
    )  # fmt: skip


def peak_flops(device: str, precision: Precision) -> float:
    """Floating-point operations per second of a large matrix product, the best of several."""
    size = 2048 if device == "cpu" else 8192
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    one = torch.randn(size, size, dtype=dtype, device=device)
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def measure(
    shape: tuple[int, int], updaters: dict[str, PolicyUpdater], model: PreTrainedModel, repetitions: int
) -> dict[str, Any]:
    """Median seconds of each layout, in turns."""
    group = make_group(*shape, model.config.vocab_size)
    advantages = [[1.0, -1.0] * (shape[1] // 2)]
    seconds: dict[str, list[float]] = {}
    computed: dict[str, float] = {}
    asked = sum(len(group.prompt_token_ids) + len(rollout.completion.token_ids) for rollout in group.rollouts)
    if asked > MAX_PADDED_TOKENS:
        updaters = {"auto": updaters["auto"]}
    for repetition in range(-1, repetitions):
        for name, updater in updaters.items():
            started = time.perf_counter()
            metrics = updater.update([group], advantages, 1)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if repetition >= 0:
                seconds.setdefault(name, []).append(time.perf_counter() - started)
            computed[name] = float(metrics["update/computed_rate"])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "prompt_tokens": shape[0],
        "group_size": shape[1],
        "tokens": asked,
        "computed_tokens": {name: round(rate * asked) for name, rate in computed.items()},
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "speedup": round(medians["off"] / medians["auto"], 2) if "off" in medians else None,
        "microseconds_per_computed_token": round(1e6 * medians["auto"] / (computed["auto"] * asked), 1),
        "model_gflops": round(model_flops(group, model) / 1e9, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--device", choices=list(SIZES), default="cpu")
    parser.add_argument("--longest", type=int, default=max(PROMPT_LENGTHS), help="leave longer prompts out")
    arguments = parser.parse_args()
    about = environment({"device": arguments.device, "num_threads": torch.get_num_threads()})
    precision: Precision = "float32" if arguments.device == "cpu" else "bfloat16"
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(max_position_embeddings=16384, **SIZES[arguments.device]))
    model.to(arguments.device)  # pyright: ignore
    peak = 0.0
    updaters = {sharing: updater_for(model, sharing, precision) for sharing in ("off", "auto")}
    rows: list[dict[str, Any]] = []
    for shape in (shape for shape in SHAPES if shape[0] <= arguments.longest):
        rows.append(measure(shape, updaters, model, arguments.repetitions))
        peak = max(peak, peak_flops(arguments.device, precision))  # between the shapes: other work may slow one down
        for row in rows:
            row["mfu"] = {name: round(row["model_gflops"] * 1e9 / of / peak, 3) for name, of in row["seconds"].items()}
        Console().print(rows[-1])
        summary = {
            "peak_gflops": round(peak / 1e9),
            "min_mfu": min(row["mfu"]["auto"] for row in rows),
            "max_mfu": max(row["mfu"]["auto"] for row in rows),
            "min_speedup": min(row["speedup"] for row in rows if row["speedup"]),
            "max_speedup": max(row["speedup"] for row in rows if row["speedup"]),
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.json, {"summary": summary, "environment": about, "shapes": rows})


if __name__ == "__main__":
    main()
