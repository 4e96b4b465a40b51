"""Run folder -> what its training has spent, and its learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srl.saved_run.load import load_run
from srl.study.config import Unit

_SECONDS = ("time/rollout_seconds", "time/update_seconds")


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What training has cost so far."""

    rollouts: float = 0
    """Rollouts, and examples that SFT has learnt."""
    sampled_tokens: float = 0
    """Tokens of the rollouts."""
    learned_tokens: float = 0
    """Tokens of the examples that SFT has learnt."""
    seconds: float = 0
    """Sampling and updates, without validation."""
    validation_seconds: float = 0
    """Validation."""

    @property
    def tokens(self) -> float:
        """Sampled and learned."""
        return self.sampled_tokens + self.learned_tokens

    def amount(self, unit: Unit) -> float:
        """As much of it as a budget counts."""
        return float(getattr(self, unit))


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One validation, and what had been spent until then."""

    stage: str
    """The stage it is from."""
    rollouts: float
    """As in ``Spent``."""
    tokens: float
    """Sampled and learnt."""
    seconds: float
    """As in ``Spent``."""
    whole: float | None
    """Share of the validation problems that are solved in one completion; None where it was not measured."""
    stepwise: float | None
    """The same step by step."""


def read_spent(run_dir: Path) -> tuple[Spent, list[CurvePoint]]:
    """What a run has spent, and its curve, from its metrics; nothing of a run that has not begun."""
    if not (run_dir / "metrics.jsonl").is_file():
        return Spent(), []
    total, curve = Spent(), list[CurvePoint]()
    for stage, records in load_run(run_dir).updates.items():
        before = total
        for record in records:
            total = _add(total, before, record)
            point = CurvePoint(
                stage=stage,
                rollouts=total.rollouts,
                tokens=total.tokens,
                seconds=round(total.seconds, 3),
                whole=record.get("validation/whole_accuracy"),
                stepwise=record.get("validation/stepwise_accuracy"),
            )
            if point.whole is not None or point.stepwise is not None:
                curve.append(point)
    return total, curve


def _add(total: Spent, before: Spent, record: dict[str, float]) -> Spent:
    """``total`` with one line more; ``before`` is the total at the beginning of the stage."""
    return Spent(
        # What SFT logs is cumulative within its stage, and no line has both kinds of counts.
        rollouts=_count(total.rollouts, before.rollouts, record, "rollout/num_rollouts", "sft/num_examples"),
        sampled_tokens=total.sampled_tokens + record.get("rollout/sampled_tokens", 0),
        learned_tokens=_count(total.learned_tokens, before.learned_tokens, record, "", "sft/num_learned_tokens"),
        seconds=total.seconds + sum(record.get(key, 0.0) for key in _SECONDS),
        validation_seconds=total.validation_seconds + record.get("time/validation_seconds", 0.0),
    )


def _count(total: float, before: float, record: dict[str, float], by_line: str, cumulative: str) -> float:
    return before + record[cumulative] if cumulative in record else total + record.get(by_line, 0)
