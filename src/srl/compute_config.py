"""The settings of a run that say which policy is trained and how its updates are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srl.errors import require


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The policy."""

    path: str
    """Local folder or Hub id of any causal language model with its tokenizer. Weights are read from safetensors only \
and no code is ever taken from the Hub."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the forward and backward pass (autocast). The weights that the optimizer updates, the \
log-probabilities and the loss are float32 in both."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How an update is computed: memory and speed, never the gradient."""

    prefix_sharing: Literal["auto", "group", "off"] = "auto"
    """auto: tokens with which several sequences of a micro-batch begin are computed once, be it the prompt of a group \
or the steps that the examples of a trajectory have in common. group: only the prompt of a group. off: every rollout \
is a padded row of its own. Models that cannot share fall back to padded rows with a warning."""
    max_tokens_per_micro_batch: int = 8192
    """Tokens of one forward and backward pass, shared ones counted once and padding, too. A longer sequence is a pass \
of its own, and shares nothing: keep it above prompt and completion."""

    def __post_init__(self) -> None:
        require(self.max_tokens_per_micro_batch >= 1, "trainer.max_tokens_per_micro_batch must be at least 1")
