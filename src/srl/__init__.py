"""Supervised Reinforcement Learning: train small language models to reason from expert trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srl.rewards.similarity import matching_blocks, sequence_similarities, sequence_similarity

__version__ = "0.1.0"
__all__ = ["matching_blocks", "sequence_similarities", "sequence_similarity"]


def __getattr__(name: str) -> Any:
    """Public functions, imported when they are asked for: the command line answers without them."""
    if name not in __all__:
        raise AttributeError(f"module 'srl' has no attribute {name!r}")
    from srl.rewards import similarity

    return getattr(similarity, name)
