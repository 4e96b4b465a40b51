"""The ways to make an update that ``update.py`` compares, and what memory one of them takes in a process of its own.

python benchmarks/update_sides.py FOLDER     prints the peak in bytes; FOLDER holds a task.json and a tokenizer
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from shapes import from_json
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
from trl_baseline import build_trainer, loss_and_backward

from srl.advantage import compute_advantages
from srl.compute_config import TrainerConfig
from srl.training_config import LossConfig, OptimizerConfig
from srl.types import RolloutGroup
from srl.update import PolicyUpdater

LEARNING_RATE = 1e-12  # far below the spacing of the weights' numbers: every repetition computes the same
OURS = ("off", "group", "auto")
SIDES = ("trl", "trl_compacted", *OURS)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The model, of random weights, and where it runs."""

    hidden: int
    layers: int
    qwen: bool
    """Of the sizes of Qwen2.5-0.5B, whatever the other two say."""
    device: str
    precision: Literal["float32", "bfloat16"]


def build_model(size: Size, tokenizer: Qwen2Tokenizer) -> PreTrainedModel:
    """A Qwen2-type model; equal sizes give equal weights."""
    heads = max(1, size.hidden // 64)
    shape = (
        {
            "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
            "num_attention_heads": 14, "num_key_value_heads": 2,
        }
        if size.qwen
        else {
            "vocab_size": len(tokenizer), "hidden_size": size.hidden, "intermediate_size": 3 * size.hidden,
            "num_hidden_layers": size.layers, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 2),
        }
    )  # fmt: skip
    torch.manual_seed(0)
    config = Qwen2Config(
        **shape, max_position_embeddings=32_768, tie_word_embeddings=True, attn_implementation="sdpa",
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return cast("PreTrainedModel", Qwen2ForCausalLM(config).to(size.device))  # pyright: ignore


class Side:
    """One way to make an update, with a model of its own: TRL patches the forward pass of the one it gets."""

    def __init__(self, name: str, size: Size, tokenizer: Qwen2Tokenizer, group_size: int, rows: int = 1) -> None:
        """``rows`` is TRL's number of rows in a micro-batch."""
        self.name, self.rows = name, rows
        self._size = size
        self.model = build_model(size, tokenizer)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.metrics: dict[str, Any] = {}
        if name in OURS:
            self._updater = PolicyUpdater(
                self.model,
                self.optimizer,
                Accelerator(cpu=size.device == "cpu"),
                loss=LossConfig(),
                optimization=OptimizerConfig(learning_rate=LEARNING_RATE),
                trainer=TrainerConfig(prefix_sharing=cast("Any", name)),
                precision=size.precision,
                temperature=1.0,
                pad_token_id=int(cast("int", tokenizer.pad_token_id)),
                reference=None,
            )
        else:
            bf16 = size.precision == "bfloat16"
            self._trainer = build_trainer(self.model, tokenizer, group_size=group_size, bf16=bf16)

    def update(self, groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]]) -> float:
        """One update; the loss."""
        if self.name in OURS:
            self.metrics = dict(self._updater.update(groups, advantages, 1))
            return float(self.metrics["loss/policy"])
        compacted = self.name == "trl_compacted"
        loss = loss_and_backward(self._trainer, groups, advantages, self.rows, scores_completions_only=compacted)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def seconds(self, groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]]) -> float:
        """Of one update."""
        self._wait()
        started = time.perf_counter()
        self.update(groups, advantages)
        self._wait()
        return time.perf_counter() - started

    def gradient(
        self, groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]]
    ) -> tuple[float, torch.Tensor]:
        """The loss and the gradient that an update steps along, as one vector."""
        found: list[torch.Tensor] = []

        def keep(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            weights = optimizer.param_groups[0]["params"]
            found.append(torch.cat([weight.grad.flatten().clone() for weight in weights]))

        hook = self.optimizer.register_step_pre_hook(keep)
        loss = self.update(groups, advantages)
        hook.remove()
        return loss, found[0]

    def _wait(self) -> None:
        if self._size.device == "cuda":
            torch.cuda.synchronize()


def print_peak(folder: Path) -> None:
    """One update in this process, and the memory that it took at most beyond what was there before it, in bytes."""
    task = json.loads((folder / "task.json").read_text("utf-8"))
    size = Size(**task["size"])
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    groups = from_json(task["groups"])
    advantages = [compute_advantages(group.rewards) for group in groups]
    side = Side(task["side"], size, tokenizer, len(groups[0].rollouts), task["rows"])
    if size.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        side.update(groups, advantages)
        print(torch.cuda.max_memory_allocated() - before)
        return
    before = resident("VmRSS")
    _forget_peak()
    side.update(groups, advantages)
    print(resident("VmHWM") - before)


def resident(field: str) -> float:
    """Bytes of resident memory, now (VmRSS) or at most so far (VmHWM).

    ``ru_maxrss`` is only for systems without /proc: on Linux a new process inherits the peak of the one that
    started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5", "utf-8")  # from here on VmHWM counts anew (man 5 proc)


if __name__ == "__main__":
    print_peak(Path(sys.argv[1]))
