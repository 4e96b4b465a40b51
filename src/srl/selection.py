"""The pass before a stage: every training example is rolled out, and what was found decides what is drawn.

What is measured is kept in the run folder, so that a stage that is resumed chooses the same without another pass.

The pass counts to the limits of the stage, like any sampling. It is no part of its progress: a curriculum begins with
the first update.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from accelerate import Accelerator

from srl.collect import GroupCollector
from srl.data_config import SelectionConfig
from srl.errors import ConfigError
from srl.metrics import Metrics
from srl.run_dir import RunDir
from srl.training_config import ScheduleConfig


def select(
    collector: GroupCollector, run_dir: RunDir, accelerator: Accelerator, stage: str, settings: SelectionConfig
) -> Metrics:
    """Let ``collector`` draw as [selection] says; returns metrics of the pass, {} without one.

    Raises DataError when nothing is left to train on.
    """
    if settings.num_rollouts == 0:
        return {}
    started = time.perf_counter()
    measured = run_dir.read_selection(stage)
    accelerator.wait_for_everyone()  # all have looked before one of them writes
    if measured is None:
        measured = collector.measure()
        if accelerator.is_main_process:
            run_dir.save_selection(stage, measured)
    chosen = collector.choose(measured)
    return {
        "selection/num_chosen": len(chosen),
        "selection/chosen_rate": len(chosen) / len(measured),
        "rollout/num_rollouts": len(measured) * settings.num_rollouts,
        "rollout/sampled_tokens": sum(item.num_tokens for item in measured),
        "time/rollout_seconds": time.perf_counter() - started,
    }


def refuse_spent_budget(schedule: ScheduleConfig, spent: Sequence[float]) -> None:
    """Raises ConfigError if ``spent``, as in ``ScheduleConfig.used_share``, leaves nothing for a first update."""
    if schedule.used_share(spent, spent) >= 1:
        _, num_rollouts, num_tokens, seconds = spent
        raise ConfigError(
            f"the pass of [selection] took {num_rollouts} rollouts, {num_tokens} tokens and {seconds:.0f} seconds, "
            "which is all that schedule.max_rollouts, max_sampled_tokens or max_seconds allow: nothing is left to "
            "train with. Lower selection.num_rollouts, or raise the limit"
        )
