"""What a user may choose about reading expert data; every reader gets one of these."""

from __future__ import annotations

from dataclasses import dataclass

from srl.errors import ConfigError

MIN_STEPS = 2
"""A trajectory of fewer steps has nothing to predict: its last step is not trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSettings:
    """How expert files are read."""

    format: str = "auto"
    """How to read every row, by the name of a format; "auto": each row's own content decides."""
    problem_field: str = ""
    """Column of the problem in rows; "" takes the usual names. Dots lead into objects: "model_prediction.proof"."""
    solution_field: str = ""
    """Column of the solution in rows; "" takes the usual names."""
    only_right: bool = False
    """Leave out what the source itself marks as wrong, unresolved or unrewarded. What it does not mark stays."""
    min_step_chars: int = 40
    """Shorter pieces of unnumbered text are joined with a neighbour. Numbered steps stay as they are written."""
    max_step_chars: int = 2000
    """Longer steps, numbered or not, are cut again by the signs inside them (lists, titles, paragraphs, sentences), \
never inside a formula or code. 0: never."""
    allow_one_step: bool = False
    """Keep a solution that cannot be cut in two, as a trajectory of one step: enough for RLVR and for rewriting."""

    def __post_init__(self) -> None:
        """Raise ConfigError where the limits contradict each other."""
        if self.min_step_chars < 0 or self.max_step_chars < 0:
            raise ConfigError(
                f"min_step_chars is {self.min_step_chars}, max_step_chars {self.max_step_chars}; both must be 0 or more"
            )
        if 0 < self.max_step_chars < self.min_step_chars:
            raise ConfigError(
                f"max_step_chars {self.max_step_chars} is less than min_step_chars {self.min_step_chars}: what is cut "
                "would be joined again; raise it, or set it to 0 for steps of any length"
            )
