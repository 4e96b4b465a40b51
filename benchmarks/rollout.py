"""Completion tokens per second of the engine beside ``model.generate`` with G copies of each prompt.

    python benchmarks/rollout.py --json benchmarks/results/rollout.json [--repetitions 5]

Cases, all with G = 8, the same prompts and sampling on both sides, and lengths as they fall:

    quickstart   the embedded base on its own task: short prompts, up to 64 tokens (what `srl quickstart` samples)
    whole        the same on whole solutions, up to 288 tokens, so that completions differ most in length
    long         a model of random weights on prompts of 1,000 to 2,000 tokens; its chance to end is set to 1 in 40

``model.generate`` gets the prompts in order of their length. Both sides run in turns within each repetition, with 64
and 192 rows at a time where there are as many, and the faster one counts. Medians of the tokens per second count, and
the ratio is the median of the repetitions' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from srl.engines.plain_generation import generate_rows
from srl.engines.stops import StopTexts
from srl.engines.transformers import TransformersEngine, end_token_ids, render
from srl.policy import load_policy
from srl.quickstart.run import prepare, quickstart_config
from srl.run_dir import environment, write_json
from srl.stage_data import build_stage
from srl.types import ChatPrompt, SamplingParams

GROUP_SIZE = 8
BATCH_SIZES = (64, 192)
"""Slots of the engine, rows of a batch of ``model.generate``; the faster one counts on each side."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sampled."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompts: list[ChatPrompt]
    sampling: SamplingParams


def quickstart_cases(folder: Path) -> list[Case]:
    """The two stages of the quickstart, one batch of prompts each."""
    prepare(folder, Console(quiet=True), from_nothing=False)
    config = quickstart_config(folder / "run", folder, seed=0)
    cases: list[Case] = []
    for name, stage, num in (("quickstart", "srl", 24), ("whole", "rlvr", 24)):
        model, tokenizer = load_policy(config.model.path)
        data = build_stage(stage, config.stages[stage], seed=0).stage
        most = config.stages[stage].sampling.max_completion_tokens
        prompts = [data.training[7 * place % len(data.training)].prompt for place in range(num)]
        sampling = SamplingParams(temperature=1.0, max_completion_tokens=most)
        cases.append(Case(name=name, model=model, tokenizer=tokenizer, prompts=prompts, sampling=sampling))
    return cases


def long_case(tokenizer: PreTrainedTokenizerBase) -> Case:
    """Long prompts, a model of 5 M random weights."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer), hidden_size=256, intermediate_size=768, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    # Near-uniform logits: a bias on the end token makes the lengths geometric, as those of a policy roughly are.
    vocabulary = len(tokenizer)
    head = torch.nn.Linear(256, vocabulary)
    torch.nn.init.zeros_(head.bias)
    head.weight = model.lm_head.weight
    head.bias.data[int(tokenizer.eos_token_id)] = float(np.log(vocabulary / 40))  # type: ignore[arg-type]
    model.lm_head = head
    rng = np.random.default_rng(0)
    prompts: list[ChatPrompt] = []
    for num_tokens in rng.integers(1000, 2000, size=4):
        text = "".join(chr(97 + letter) for letter in rng.integers(0, 26, size=num_tokens))
        prompts.append(ChatPrompt(messages=({"role": "user", "content": text},)))
    sampling = SamplingParams(temperature=1.0, max_completion_tokens=160)
    return Case(name="long", model=model.eval(), tokenizer=tokenizer, prompts=prompts, sampling=sampling)


def run_generate(case: Case, batch_size: int, seed: int) -> list[int]:
    """Completion lengths by ``model.generate``."""
    engine = TransformersEngine(case.model, case.tokenizer)
    ids = sorted((engine.tokenize(render(prompt, case.tokenizer)) for prompt in case.prompts), key=len, reverse=True)
    rows = [row for row in ids for _ in range(GROUP_SIZE)]
    lengths: list[int] = []
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        lengths += map(
            len,
            generate_rows(
                case.model, case.tokenizer, chunk, case.sampling, seed=seed + start,
                end_token_ids=end_token_ids(case.model, case.tokenizer), stops=StopTexts((), case.tokenizer),
                precision="float32",
            ),
        )  # fmt: skip
    return lengths


def run_engine(case: Case, batch_size: int, seed: int) -> list[int]:
    """Completion lengths by the engine."""
    engine = TransformersEngine(case.model, case.tokenizer, batch_size=batch_size)
    generations = engine.generate(case.prompts, num_samples=GROUP_SIZE, sampling=case.sampling, seed=seed)
    return [len(completion.token_ids) for item in generations for completion in item.completions]


SIDES = {"generate": run_generate, "engine": run_engine}


def measure(case: Case, repetitions: int) -> dict[str, Any]:
    """Tokens per second of both sides at both batch sizes, in turns."""
    rates: dict[str, list[float]] = {}
    lengths: dict[str, list[int]] = {}
    sizes = [size for size in BATCH_SIZES if size <= max(64, GROUP_SIZE * len(case.prompts))]
    for repetition in range(-1, repetitions):  # -1 warms up
        for side, run in SIDES.items():
            for batch_size in sizes:
                started = time.perf_counter()
                found = run(case, batch_size, 1000 * repetition + 5000)
                seconds = time.perf_counter() - started
                if repetition >= 0:
                    rates.setdefault(f"{side}/{batch_size}", []).append(sum(found) / seconds)
                    lengths.setdefault(side, []).extend(found)
    medians = {name: statistics.median(of) for name, of in rates.items()}
    best = {side: max((f"{side}/{size}" for size in sizes), key=lambda name: medians[name]) for side in SIDES}
    ratios = [ours / theirs for ours, theirs in zip(rates[best["engine"]], rates[best["generate"]], strict=True)]
    return {
        "vs_generate": round(statistics.median(ratios), 2),
        "tokens_per_second": {name: round(value) for name, value in medians.items()},
        "best": best,
        "ratios": [round(ratio, 2) for ratio in ratios],
        "completion_tokens": {side: spread(of) for side, of in lengths.items()},
        "prompt_tokens": spread(
            [len(case.tokenizer(render(prompt, case.tokenizer))["input_ids"]) for prompt in case.prompts]
        ),
    }


def spread(values: Sequence[int]) -> dict[str, float]:
    """Smallest, median, mean and largest."""
    return {
        "min": min(values),
        "median": statistics.median(values),
        "mean": round(statistics.mean(values), 1),
        "max": max(values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of cases")
    arguments = parser.parse_args()
    about = environment({"device": "cpu", "num_threads": torch.get_num_threads()})
    with tempfile.TemporaryDirectory() as folder:
        cases = quickstart_cases(Path(folder))
        cases.append(long_case(cases[0].tokenizer))
        chosen = [case for case in cases if not arguments.only or case.name in arguments.only]
        results = {case.name: measure(case, arguments.repetitions) for case in chosen}
    by_case = {f"vs_generate_{name}": result["vs_generate"] for name, result in results.items()}
    summary = {"vs_generate": min(by_case.values()), **by_case}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, {"summary": summary, "environment": about, "cases": results})
    Console().print_json(data={"summary": summary, "cases": results})


if __name__ == "__main__":
    main()
