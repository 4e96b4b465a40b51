"""The settings of a stage's reward; ``config.py`` holds the rest of a run's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from srl.chat_api.settings import ServerConfig
from srl.errors import require

SIMILARITY_NAMES = (
    "sequence", "words", "tokens", "indel", "lcs", "chrf", "math", "shell", "tool_call", "embedding", "judge",
)  # fmt: skip
MAX_WEIGHT = 1e6
"""Of a similarity in a sum. Weights count relative to each other."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """What SRL pays for an action, and what becomes of one that cannot be graded."""

    similarity: str | dict[str, float] = "sequence"
    """"sequence" (the paper's), "words", "tokens", "indel", "lcs", "chrf", "math", "shell", "tool_call", "embedding", \
"judge", the import path "package.module:function" of your own, or a table of these with weights, which are scaled \
to sum to 1. docs/rewards.md compares them. All but the first are ours."""
    autojunk: bool = False  # Paper: 4.2 calls SequenceMatcher, whose own default is True; ours is the formula.
    """difflib's popularity heuristic. False is the paper's formula; True is what Python's SequenceMatcher does by \
default and what the paper may have used (docs/method.md, "The autojunk trap"). Of "sequence" only."""
    first_argument: Literal["action", "target"] = "action"  # Paper: 4.2 leaves the order of the arguments open.
    """Which text is SequenceMatcher's first: the ratio is not symmetric. Of "sequence" only."""
    format_penalty: float = -1.0
    """Reward of a completion that breaks the format."""
    thresholds: tuple[float, float] = (0.0, 1.0)
    """Similarities up to the first earn 0, those from the second on 1, linear between (the idea of PivotRL, arXiv \
2603.21383). 0 and 1 leave the similarity as it is."""
    embedding_model: str = ""
    """Local folder or Hub id of the sentence-transformers model of "embedding"."""
    outcome: Literal["off", "gate", "blend"] = "off"
    """Let the final answer count: the solution is finished from the policy's action on, and graded. gate: a wrong \
answer takes away `outcome_weight` of the reward. blend: (1 - w) * similarity + w * outcome. Ours."""
    outcome_weight: float = 0.5
    """w of `outcome`, in (0, 1]."""
    finished_by: Literal["policy", "expert"] = "policy"
    """Who finishes the solution for `outcome`: the policy, greedily, or the model at `server`."""
    max_finishing_tokens: int = 1024
    """A longer rest of a solution is cut, and wrong; an expert's rest is ungraded then."""
    server: ServerConfig = field(default_factory=ServerConfig)
    """OpenAI-compatible endpoint of "judge" and of finished_by = "expert"."""
    on_error: Literal["stop", "drop"] = "stop"
    """A reward that raises or is no number in [0, 1] stops the run, or its rollout is left out and counted."""

    def __post_init__(self) -> None:
        plain = RewardConfig.__dataclass_fields__
        in_range = -math.inf < self.format_penalty <= 0.0
        require(in_range, "reward.format_penalty must be a number of at most 0, the worst similarity")
        low, high = self.thresholds
        require(0.0 <= low < high <= 1.0, "reward.thresholds must be two numbers in order, from 0 to 1")
        names = self.similarity_weights
        require(bool(names), "reward.similarity is an empty table; name at least one similarity")
        for name, weight in names.items():
            known = name in SIMILARITY_NAMES or ":" in name
            require(
                known,
                f"reward.similarity: {name!r} is none of {', '.join(SIMILARITY_NAMES)} and no import path like "
                '"package.module:function"',
            )
            in_range = 0 < weight <= MAX_WEIGHT
            require(in_range, f"reward.similarity: the weight of {name!r} is {weight}; it must be above 0, up to 1e6")
        sequence = self.autojunk or self.first_argument != "action"
        require(not sequence or "sequence" in names, 'autojunk and first_argument have no effect without "sequence"')
        model = "embedding" in names
        require(model == (self.embedding_model != ""), '"embedding" needs embedding_model, and nothing else uses it')
        judge, finishes = "judge" in names, self.finished_by == "expert"
        require(
            (judge or finishes) == (self.server.base_url != ""),
            '"judge" and finished_by = "expert" need server.base_url, and nothing else uses it',
        )
        unused_server = not self.server.base_url and self.server != ServerConfig()
        require(not unused_server, "the settings of [reward.server] have no effect without server.base_url")
        require(0 < self.outcome_weight <= 1, "reward.outcome_weight must be in (0, 1]")
        require(self.max_finishing_tokens >= 1, "reward.max_finishing_tokens must be at least 1")
        of_outcome = ("outcome_weight", "finished_by", "max_finishing_tokens")
        unused = [name for name in of_outcome if getattr(self, name) != plain[name].default]
        require(self.outcome != "off" or not unused, f'reward.{", ".join(unused)} have no effect with outcome = "off"')

    @property
    def similarity_weights(self) -> dict[str, float]:
        """Name or import path of each similarity with its weight."""
        return {self.similarity: 1.0} if isinstance(self.similarity, str) else self.similarity

    @property
    def is_bare(self) -> bool:
        """Whether only what an rlvr stage uses differs from the defaults: on_error."""
        return self == RewardConfig(on_error=self.on_error)
