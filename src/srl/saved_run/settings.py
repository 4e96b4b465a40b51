"""config.json -> what has to be known of a stage to read its rewards; total, with the defaults for what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from srl.reward_config import RewardConfig
from srl.saved_run.json_files import JsonObject, as_list, as_number, as_object, as_text
from srl.signals.measures import SignalSettings, Target

_DEFAULT = RewardConfig()


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSettings:
    """How a stage was rewarded."""

    kind: str
    """"srl", "rlvr", "sft", or "" where neither config nor name tell."""
    target: Target
    """What its target is."""
    similarity: dict[str, float]
    """Names of the similarities with their weights; {} in an rlvr stage."""
    autojunk: bool
    """difflib's heuristic; of "sequence" only."""
    is_action_first: bool
    """Whether the action is SequenceMatcher's first argument; of "sequence" only."""
    thresholds: tuple[float, float]
    """What earns 0 and what earns 1; (0, 1) leaves similarities as they are."""
    outcome: str
    """"off", "gate" or "blend"."""
    outcome_weight: float
    """Its weight."""
    format_penalty: float
    """Reward of a completion that breaks the format."""

    @property
    def has_sequence(self) -> bool:
        """Whether matching characters are, at least in part, what the reward counts."""
        return "sequence" in self.similarity

    @property
    def signals(self) -> SignalSettings:
        """What decides which signals there are."""
        second = "target" if self.is_action_first else "action"
        return SignalSettings(target=self.target, junk_text=second if self.autojunk and self.has_sequence else "")

    def similarity_of(self, reward: float, outcome: float | None) -> float | None:
        """The similarity (after thresholds) that a reward was made of; None where the outcome has hidden it.

        gate: reward = similarity * (1 - w (1 - outcome)); blend: reward = (1 - w) similarity + w outcome.
        """
        if outcome is None or self.outcome == "off":
            return reward
        weight = self.outcome_weight
        if self.outcome == "gate":
            share, paid = 1.0 - weight * (1.0 - outcome), reward
        else:
            share, paid = 1.0 - weight, reward - weight * outcome
        return min(1.0, max(0.0, paid / share)) if share > 0.0 else None


def stage_settings(config: JsonObject, stage: str) -> StageSettings:
    """The settings of a stage; without a config its name is its kind where it is one."""
    table = as_object(as_object(config.get("stages")).get(stage))
    kind = as_text(table.get("kind")) or stage
    reward = as_object(table.get("reward"))
    one_step = as_object(table.get("data")).get("one_step") is True
    target: Target = "answer" if kind == "rlvr" else "solution" if one_step else "step"
    bounds = [bound for value in as_list(reward.get("thresholds")) if (bound := as_number(value)) is not None]
    return StageSettings(
        kind=kind if kind in ("srl", "rlvr", "sft") else "",
        target=target,
        similarity={} if kind == "rlvr" else _similarity(reward.get("similarity")),
        autojunk=reward.get("autojunk") is True,
        is_action_first=reward.get("first_argument") != "target",
        thresholds=(bounds[0], bounds[1]) if len(bounds) == 2 else _DEFAULT.thresholds,
        outcome=as_text(reward.get("outcome")) or _DEFAULT.outcome,
        outcome_weight=_number(reward, "outcome_weight"),
        format_penalty=0.0 if kind == "rlvr" else _number(reward, "format_penalty"),
    )


def _similarity(value: object) -> dict[str, float]:
    """A name, or a table of names with weights; what it once was, "sequence", where the config says nothing."""
    if isinstance(value, str):
        return {value: 1.0}
    weights = {name: as_number(weight) for name, weight in as_object(value).items()}
    return {name: weight for name, weight in weights.items() if weight is not None} or dict(_DEFAULT.similarity_weights)


def _number(reward: JsonObject, name: str) -> float:
    value = as_number(reward.get(name))
    return float(getattr(_DEFAULT, name)) if value is None else value
