"""Peak memory and time of the log-probabilities of a 152,000-word vocabulary, in chunks and the naive way.

    python benchmarks/logits.py --json benchmarks/results/logits.json [--device cuda]

A model with the vocabulary and width of Qwen2.5-0.5B and two layers; one micro-batch of 8 completions of 256 tokens,
forward and backward. Each way runs in a process of its own: on a CPU the peak resident memory above what the process
held with the model and its gradients, on a GPU ``max_memory_allocated`` above the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl.logprobs import completion_logprobs, pad_batch
from srl.packing.head import MAX_LOGITS
from srl.run_dir import environment, write_json

WAYS = ("naive", "chunked")
NUM_ROWS, NUM_TOKENS, VOCABULARY = 8, 256, 151_936
REPETITIONS = 3


def run(way: str, device: str) -> dict[str, float]:
    """Forward and backward in this process."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY, hidden_size=896, intermediate_size=4864, num_hidden_layers=2, num_attention_heads=14,
            num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
        )
    ).to(device)  # type: ignore[arg-type]  # fmt: skip
    tokens = torch.randint(VOCABULARY, (NUM_ROWS, NUM_TOKENS + 32)).tolist()
    batch = pad_batch([(row[:32], row[32:]) for row in tokens], pad_token_id=0, device=device)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    before = peak(device)
    seconds: list[float] = []
    total = 0.0
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        head = model.lm_head if way == "chunked" else None
        loss = completion_logprobs(model, batch, temperature=1.0, head=head).mean()
        loss.backward()
        total = loss.item()
        seconds.append(time.perf_counter() - started)
    return {
        "peak_mebibytes": round((peak(device) - before) / 2**20),
        "seconds": round(statistics.median(seconds), 2),
        "mean_logprob": total,
        "grad_norm": float(torch.nn.utils.get_total_norm([w.grad for w in model.parameters() if w.grad is not None])),
    }


def peak(device: str) -> int:
    """Highest memory so far, in bytes."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--way", choices=WAYS, help="run one way in this process and print it")
    arguments = parser.parse_args()
    if arguments.way:
        sys.stdout.write(json.dumps(run(arguments.way, arguments.device)))
        return
    about = environment({"device": arguments.device, "num_threads": torch.get_num_threads()})
    results: dict[str, Any] = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--device", arguments.device]
        results[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    naive, chunked = results["naive"], results["chunked"]
    if abs(naive["mean_logprob"] - chunked["mean_logprob"]) > 1e-4:
        raise SystemExit(f"the two ways disagree: {results}")
    summary = {
        "peak_memory_vs_naive": round(chunked["peak_mebibytes"] / naive["peak_mebibytes"], 3),
        "seconds_vs_naive": round(chunked["seconds"] / naive["seconds"], 3),
        "chunk_mebibytes": MAX_LOGITS * 4 // 2**20,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, {"summary": summary, "environment": about, "ways": results})
    Console().print_json(data={"summary": summary, "ways": results})


if __name__ == "__main__":
    main()
