"""The wording of the prompts of every embedded text task: as short as can be, as each token costs time on a CPU."""

from __future__ import annotations

from srl.prompts import PromptTexts

TASK_TEXTS = PromptTexts(
    step_system="next", solve_system="solve", context_heading="", first_step_note="", title_note="{title}"
)
"""For recipes and evaluation: ``[stages.NAME.prompt.texts]`` must say the same, as the bases know no other wording."""
