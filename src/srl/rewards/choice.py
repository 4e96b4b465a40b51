"""The names in a recipe -> one reward function.

A name is one of ``SIMILARITIES`` or the import path of a user's own function, ``package.module:function``. The user's
function is code that the user installed and names in a file of theirs; nothing a model wrote is ever imported.

The decision a reader would question: each entry imports its own module when it is chosen, so that nobody pays for
sentence-transformers who compares characters.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from srl.errors import ConfigError
from srl.reward_config import RewardConfig
from srl.rewards.extras import check_extra
from srl.rewards.shaping import thresholded, weighted_sum
from srl.rewards.similarity import similarity_reward
from srl.types import Reward


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the similarities are made with."""

    config: RewardConfig
    """The stage's [reward] table."""
    model_path: str
    """Folder or Hub id of the policy, whose tokenizer "tokens" uses."""
    run_dir: str
    """Folder of the run, in which "judge" keeps its grades; "" keeps them in memory only."""


def build_reward(config: RewardConfig, *, model_path: str, run_dir: str = "") -> Reward:
    """The reward of an SRL stage, without its outcome gate. Raises ConfigError for a name that cannot be imported."""
    choice = Choice(config=config, model_path=model_path, run_dir=run_dir)
    parts = {name: (weight, _find(name)(choice)) for name, weight in config.similarity_weights.items()}
    reward = next(iter(parts.values()))[1] if len(parts) == 1 else weighted_sum(parts)
    if config.thresholds != (0.0, 1.0):
        reward = thresholded(reward, *config.thresholds)
    return reward


def import_reward(path: str) -> Reward:
    """The function that ``package.module:function`` names. Raises ConfigError."""
    module_name, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"reward.similarity: {path!r} cannot be imported ({error}); the module must be installed or stand in a "
            "folder on PYTHONPATH"
        ) from error
    if not callable(found):
        raise ConfigError(
            f"reward.similarity: {path!r} is a {type(found).__name__}, not a function of action and target"
        )
    return cast(Reward, found)


def _find(name: str) -> Callable[[Choice], Reward]:
    return SIMILARITIES[name] if name in SIMILARITIES else lambda choice: import_reward(name)


def _sequence(choice: Choice) -> Reward:
    return similarity_reward(autojunk=choice.config.autojunk, first_argument=choice.config.first_argument)


def _tokens(choice: Choice) -> Reward:
    from srl.rewards.tokens import TokenSimilarity

    return TokenSimilarity.from_pretrained(choice.model_path)


def _math(choice: Choice) -> Reward:
    from srl.rewards.math_aware import MathSimilarity

    return MathSimilarity()


def _embedding(choice: Choice) -> Reward:
    from srl.rewards.embedding import EmbeddingSimilarity

    return EmbeddingSimilarity(choice.config.embedding_model)


def _judge(choice: Choice) -> Reward:
    from srl.rewards.judge import Judge

    cache = str(Path(choice.run_dir) / "judge.jsonl") if choice.run_dir else ""
    return Judge(choice.config.server, cache=cache)


def _function(path: str, *, needs: str | None = None) -> Callable[[Choice], Reward]:
    """One of our own; ``needs`` is the package of the extra "similarities" without which it cannot work."""

    def make(choice: Choice) -> Reward:
        if needs is not None:
            check_extra(needs, extra="similarities")
        return import_reward(path)

    return make


SIMILARITIES: Mapping[str, Callable[[Choice], Reward]] = {
    "sequence": _sequence,
    "words": _function("srl.rewards.words:words_similarity"),
    "tokens": _tokens,
    "indel": _function("srl.rewards.indel:indel_similarity", needs="rapidfuzz"),
    "lcs": _function("srl.rewards.indel:lcs_similarity", needs="rapidfuzz"),
    "chrf": _function("srl.rewards.chrf:chrf_similarity", needs="sacrebleu"),
    "math": _math,
    "shell": _function("srl.rewards.shell:shell_similarity", needs="tree_sitter_bash"),
    "tool_call": _function("srl.rewards.tool_calls:tool_call_similarity"),
    "embedding": _embedding,
    "judge": _judge,
}
"""Every similarity by its name in a recipe; docs/rewards.md compares them."""
