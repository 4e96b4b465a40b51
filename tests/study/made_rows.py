"""A study with rows of known outcomes, without any training."""

from __future__ import annotations

import random
from pathlib import Path

from srl.study.budget import CurvePoint, Spent
from srl.study.config import BudgetConfig, MethodConfig, StudyConfig, TaskConfig
from srl.study.plan import RunKey
from srl.study.rows import Outcomes, Row, Status

RATES = {"base": 0.1, "srl": 0.7, "rlvr": 0.4}
SETTINGS = {
    "recipe": None, "traces": False, "budget": {"unit": "rollouts", "amount": 100}, "base": "b0",
    "data": {"train": "d0"}, "evaluation": {"num_samples": 1},
}  # fmt: skip


def make_study(folder: Path, **changes: object) -> StudyConfig:
    settings: dict[str, object] = {
        "title": "A study",
        "folder": str(folder),
        "task": TaskConfig(name="chains"),
        "budget": BudgetConfig(rollouts=100),
        "methods": {"srl": MethodConfig(recipe="srl.toml", label="SRL"), "rlvr": MethodConfig(recipe="rlvr.toml")},
    }
    return StudyConfig(**(settings | changes))  # type: ignore[arg-type]


def make_outcomes(rate: float, seed: int, num_problems: int = 60) -> Outcomes:
    """Each problem is as hard in every run: a run solves those whose hardness is below its rate, and a few others."""
    hardness = random.Random(0)
    rng = random.Random(seed)
    whole = {f"p{n:02d}": [hardness.random() + rng.uniform(-0.1, 0.1) < rate] for n in range(num_problems)}
    return {"whole/greedy": whole, "steps/greedy": {problem: [*found, True] for problem, found in whole.items()}}


def make_row(
    method: str, seed: int = 0, *, status: Status = "done", rollouts: float = 100, rate: float | None = None
) -> Row:
    has_result = status != "failed"
    return Row(
        method=method,
        seed=seed,
        status=status,
        message="" if status == "done" else "why",
        spent=Spent() if method == "base" else Spent(rollouts=rollouts, sampled_tokens=5000, seconds=10 + seed),
        settings=SETTINGS,
        environment={"git": {"commit": "0123456789abcdef", "dirty": False}, "hardware": {"device": "cpu"}},
        outcomes=make_outcomes(RATES[method] if rate is None else rate, seed) if has_result else {},
        curve=[
            CurvePoint(
                stage="srl", rollouts=x, tokens=50 * x, seconds=x / 10, whole=x / 200 + seed / 100, stepwise=None
            )
            for x in (0, 50, 100)
        ]
        if has_result and method != "base"
        else [],
    )


def make_rows(**changed: Row | None) -> dict[RunKey, Row]:
    """Base, and three seeds of both methods; ``srl_1=row`` puts another one in its place, None takes it away."""
    rows: dict[str, Row | None] = {"base": make_row("base")}
    rows |= {f"{method}_{seed}": make_row(method, seed) for method in ("srl", "rlvr") for seed in (0, 1, 2)}
    return {row.key: row for row in (rows | changed).values() if row is not None}
