"""What a run folder holds, as far as it could be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srl.saved_run.json_files import JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRollout:
    """One rollout as it stands in the run folder."""

    text: str
    """The completion as sampled."""
    finish_reason: str
    """"stop" or "length"."""
    status: str
    """A ``ParseStatus`` value."""
    monologue: str
    """Text inside ``<think>``."""
    action: str
    """What was scored; "" unless the status is "ok"."""
    reward: float | None
    """None when the file does not hold a finite number, and for a rollout that could not be graded."""
    advantage: float | None
    """None when the group was rejected."""
    outcome: float | None = None
    """What the solution earned that the action led to, None where that was not asked for."""
    reason: str = ""
    """Why it could not be graded, "" for one that was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedGroup:
    """One group as it stands in the run folder; ``rollouts`` and ``ungraded`` are not both empty."""

    stage: str
    """Name of the stage."""
    update: int
    """Update it was drawn for, from 1."""
    example_id: str
    """The training example."""
    messages: tuple[tuple[str, str], ...]
    """(role, content) of the prompt."""
    assistant_prefix: str
    """How the policy's turn began, "" when it began with the completion."""
    target: str
    """The expert's action (srl) or the reference answer (rlvr)."""
    is_kept: bool
    """Whether it passed dynamic sampling."""
    rollouts: tuple[SavedRollout, ...]
    """Those with a reward, in the order they were sampled."""
    ungraded: tuple[SavedRollout, ...] = ()
    """Those without; () in runs of versions that did not save them."""
    is_kept_by_format_only: bool | None = None
    """Whether its well-formed rollouts alone are flat; None where the file does not say."""
    kind: str = ""
    """"solution", "agent", or "" where the file does not say."""
    context: tuple[str, ...] = ()
    """The expert's earlier steps; () where the file does not say."""
    next_action: str = ""
    """The expert's step after the target, "" where the file does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedScore:
    """One score of one model; percentages are made later."""

    name: str
    """For instance "steps/greedy"."""
    value: float
    """The estimate."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    num_problems: int | None
    """Problems it was measured on, None when not recorded."""
    num_samples: int | None
    """Completions it was measured on, None when not recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedWarning:
    """One warning of the training."""

    update: int
    """Update after which it was given."""
    code: str
    """Its kind."""
    message: str
    """What was found and what can be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run folder, read."""

    path: Path
    """The folder."""
    config: JsonObject
    """config.json, {} when missing."""
    environment: JsonObject
    """environment.json, {} when missing."""
    updates: dict[str, list[dict[str, float]]]
    """Per stage, in the order of the config: one record per update, ascending; "update" and every finite metric."""
    rollout_files: dict[str, list[Path]]
    """Per stage, in the order of the config: files of saved groups, by ascending update."""
    warnings: dict[str, list[SavedWarning]]
    """Per stage what the training warned of, in the order it was given."""
    scores: dict[str, list[SavedScore]]
    """Per model, in the order of scores.json."""
    scores_info: JsonObject
    """The rest of scores.json: "problems", "seconds"."""
    notes: list[str]
    """What is missing or could not be read, in words."""

    @property
    def stages(self) -> list[str]:
        """Every stage that has an update or a saved rollout, in the order of the config."""
        return list(dict.fromkeys([*self.updates, *self.rollout_files]))
