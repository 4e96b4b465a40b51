"""What TRL's ``GRPOTrainer`` computes for an update, on given rollouts; the other side of ``update.py``.

The trainer is TRL's own, the loss is its ``compute_loss`` (Eq. 1: ``loss_type="grpo"``, no KL term, temperature 1,
attention "sdpa"), and a batch is laid out by its own functions as ``_generate_and_score_completions`` and
``_prepare_inputs`` do it: the whole generation batch is padded to its longest prompt and its longest completion,
shuffled, and split into micro-batches of equally many rows. How many rows is the caller's choice; ``update.py`` takes
the number that is fastest.

Left out, in TRL's favour, are generation, rewards and all that its loop does around a step. No option of TRL 1.16
makes this faster on a CPU: its Triton kernels and those of liger-kernel or the Hub need a GPU, padding-free batches
exist only in its SFT trainer, and gradient checkpointing, its default, is switched off because it costs time. One thing
it does on a CPU and not on a GPU: it takes the logits of every position, the prompt's included, because leaving them
out goes with the Triton kernel. ``scores_completions_only`` leaves them out on a CPU, too, to show how much of a ratio
comes from that.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
import trl.trainer.utils as trl_utils
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad, shuffle_sequence_dict, split_tensor_dict

from srl.types import RolloutGroup


def build_trainer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, group_size: int, bf16: bool = False
) -> GRPOTrainer:
    """TRL's trainer around ``model``, whose forward it patches; on the CPU unless the model is elsewhere."""
    arguments = GRPOConfig(
        output_dir=tempfile.mkdtemp(prefix="trl-"),
        loss_type="grpo",
        beta=0.0,
        epsilon=0.2,
        temperature=1.0,
        num_generations=group_size,
        per_device_train_batch_size=group_size,
        use_cpu=model.device.type == "cpu",
        bf16=bf16,
        gradient_checkpointing=False,  # ours recomputes nothing either
        report_to=[],
    )
    return GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=_no_reward,
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
    )


def _no_reward(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


def lay_out(trainer: GRPOTrainer, groups: Sequence[RolloutGroup], advantages: Sequence[Sequence[float]]) -> Any:
    """The generation batch as TRL pads it: prompts on the left, completions on the right."""
    device = trainer.accelerator.device
    rollouts = [(group.prompt_token_ids, item.completion.token_ids) for group in groups for item in group.rollouts]
    batch: dict[str, Any] = {}
    for name, side, rows in (
        ("prompt", "left", [prompt for prompt, _ in rollouts]),
        ("completion", "right", [completion for _, completion in rollouts]),
    ):
        ids = [torch.tensor(row) for row in rows]
        masks = [torch.ones_like(row) for row in ids]
        batch[f"{name}_ids"] = pad(ids, padding_value=trainer._tokenizer.pad_token_id, padding_side=side).to(device)
        batch[f"{name}_mask"] = pad(masks, padding_value=0, padding_side=side).to(device)
    batch["advantages"] = torch.tensor([one for of in advantages for one in of], dtype=torch.float32, device=device)
    batch["num_items_in_batch"] = batch["completion_mask"].sum()
    return batch


def loss_and_backward(
    trainer: GRPOTrainer,
    groups: Sequence[RolloutGroup],
    advantages: Sequence[Sequence[float]],
    micro_batch_rows: int,
    *,
    scores_completions_only: bool = False,
) -> float:
    """The gradient of the whole batch, accumulated in the model, and the loss.

    The number of rollouts must be a multiple of ``micro_batch_rows``.
    """
    num_rollouts = sum(len(group.rollouts) for group in groups)
    if num_rollouts % micro_batch_rows:
        raise ValueError(f"{num_rollouts} rollouts cannot be split into micro-batches of {micro_batch_rows} rows")
    num_micro_batches = num_rollouts // micro_batch_rows
    trainer.current_gradient_accumulation_steps = num_micro_batches
    batches = split_tensor_dict(shuffle_sequence_dict(lay_out(trainer, groups, advantages)), num_micro_batches)
    model = trainer.model_wrapped.train()
    total = 0.0
    with _compaction() if scores_completions_only else contextlib.nullcontext():
        for batch in batches:
            loss = trainer.compute_loss(model, batch)
            trainer.accelerator.backward(loss)
            total += float(loss.detach())
    return total


@contextlib.contextmanager
def _compaction() -> Iterator[None]:
    """TRL compacts where it runs its Triton kernel; the kernel itself asks elsewhere and stays what it is."""
    with mock.patch.object(trl_utils, "_use_triton", return_value=True):
        yield
