"""Updates of examples -> the batches that SFTTrainer reads, made one by one when they are asked for.

SFTTrainer accumulates the same number of micro-batches in every update. Updates whose examples need fewer are filled up
with empty ones, which have no token to learn and give no gradient.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from srl.model_support import TOLERANCE
from srl.sft.plan import MicroBatch
from srl.sft.tokens import TaughtExample

logger = logging.getLogger("srl")
IGNORED = -100
"""The label of a token that is read and not learned."""


def make_dataset(
    updates: Sequence[Sequence[MicroBatch]], examples: Sequence[TaughtExample], *, pad_token_id: int
) -> tuple[Dataset, int]:
    """The micro-batches of all updates in order, one row each, and how many make one update."""
    per_update = max(len(update) for update in updates)
    rows = [batch for update in updates for batch in [*update, *([[]] * (per_update - len(update)))]]
    empty = {"input_ids": np.full(2, pad_token_id), "labels": np.full(2, IGNORED), "seq_lengths": [2]}

    def read(columns: dict[str, list[int]]) -> dict[str, list[Any]]:
        """Rows as ``collate_padded`` or TRL's own collator for packed rows reads them."""
        batches = [[as_row(examples[place]) for place in rows[place]] or [empty] for place in columns["row"]]
        return {
            "examples": batches,
            "input_ids": [np.concatenate([row["input_ids"] for row in batch]) for batch in batches],
            "labels": [np.concatenate([row["labels"] for row in batch]) for batch in batches],
            "seq_lengths": [[length for row in batch for length in row["seq_lengths"]] for batch in batches],
        }

    return Dataset.from_dict({"row": list(range(len(rows)))}).with_transform(read), per_update


def as_row(example: TaughtExample) -> dict[str, Any]:
    """Token ids, and labels of the completion alone."""
    ids = np.concatenate([example.prompt_ids, example.completion_ids]).astype(np.int64)
    labels = ids.copy()
    labels[: len(example.prompt_ids)] = IGNORED
    return {"input_ids": ids, "labels": labels, "seq_lengths": [len(ids)]}


def padded_collator(pad_token_id: int) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """Makes one micro-batch of examples, each in a row of its own, padded to the longest."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
    return lambda rows: collate([example for row in rows for example in row["examples"]])


@torch.no_grad()
def keeps_apart(model: PreTrainedModel, *, pad_token_id: int) -> bool:
    """Whether examples that TRL packs into one row give the logits that each of them gives by itself.

    It is tried out, because it depends on the model's kind of attention and on how that is computed.
    """
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    vocab_size = int(model.config.get_text_config().vocab_size)
    tokens = [(7919 * place + 13) % vocab_size for place in range(36)]
    alone = [tokens[:17], tokens[17:25], tokens[25:]]
    collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=True)
    row = {"input_ids": tokens, "labels": tokens, "seq_lengths": [len(part) for part in alone]}
    inputs = {
        name: value.to(model.device) if isinstance(value, torch.Tensor) else value
        for name, value in collate([row]).items()
        if name != "labels"
    }
    was_training = model.training
    model.eval()
    try:
        packed = model(**inputs, use_cache=False).logits[0]
        expected = [
            model(input_ids=torch.tensor([part], device=model.device), use_cache=False).logits[0] for part in alone
        ]
        return float((packed - torch.cat(expected)).abs().max()) <= TOLERANCE
    except Exception as error:  # noqa: BLE001 - a model that cannot read such rows fails in a way of its own
        logger.debug("%s: %s", type(error).__name__, error)
        return False
    finally:
        model.train(was_training)
