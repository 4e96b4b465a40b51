"""Load the policy and its tokenizer, and decide number formats in one place.

Weights are float32, always: an update at a learning rate of 5e-7 is smaller than the spacing of bfloat16 numbers and
would be lost. ``precision = "bfloat16"`` runs the matrix products of forward and backward in bfloat16 (autocast).
Only safetensors are read (nothing is unpickled) and no code is taken from the Hub.
"""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from srl.errors import DataError

Precision = Literal["float32", "bfloat16"]


def load_policy(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in float32 and its tokenizer, from a local folder or a Hub id.

    Raises DataError when there is no such model, or when it comes without safetensors or needs code of its own.
    """
    disable_progress_bar()  # one for every file would tear our own displays apart
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        # Paper: Tables 7 and 8 say bf16 and no more; weights and optimizer state are float32 here.
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot load a causal language model from {str(path)!r}: {error}. Give a local folder with config.json, "
            "model.safetensors and a tokenizer, or the id of such a model on the Hub."
        ) from error
    _check_forward(model)
    _turn_off_dropout(model)
    _make_saveable(model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _check_forward(model: PreTrainedModel) -> None:
    """Raises DataError for the few architectures whose forward pass lacks what the log-probabilities need."""
    parameters = inspect.signature(model.forward).parameters
    missing = [name for name in ("attention_mask", "position_ids", "logits_to_keep") if name not in parameters]
    if missing:
        raise DataError(f"{type(model).__name__} takes no {', '.join(missing)}; models of this kind cannot be trained")


def _make_saveable(model: PreTrainedModel) -> None:
    """Older checkpoints give a temperature without do_sample, which transformers reads but refuses to write."""
    settings = model.generation_config
    if settings is not None and not settings.do_sample:
        for name in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
            setattr(settings, name, None)


def _turn_off_dropout(model: PreTrainedModel) -> None:
    """With dropout the log-probabilities of the update are not those of the policy that sampled."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010  (torch declares no such attribute)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """The number format of a forward pass; see the module's docstring."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
