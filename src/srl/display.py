"""Live progress of a training run in the terminal, and its plain lines where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class TrainingDisplay:
    """A progress bar for each stage; every validated update leaves a line behind.

    Use as a context manager; 80 columns are enough.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._num_updates: int | None = None

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start_stage(
        self,
        name: str,
        *,
        kind: str,
        num_training: int,
        num_validation: int,
        num_updates: int,
        dropped: Mapping[str, int],
    ) -> None:
        """Begin a stage; ``num_updates`` 0 means that it is not known, ``dropped`` counts what was left out."""
        self._num_updates = num_updates or None
        self._console.print(
            f"[bold]{name}[/bold] ({kind}): {num_training} training and {num_validation} validation examples"
        )
        for reason, count in dropped.items():
            self._console.print(f"  left out: {count} ({reason})", highlight=False)
        self._task = self._progress.add_task(name, total=self._num_updates, note="")

    def show(self, metrics: Mapping[str, float | int | str]) -> None:
        """One line of metrics.jsonl."""
        update = int(metrics["update"])
        if self._task is not None and "sft/loss" in metrics:
            self._progress.update(self._task, completed=update, note=f"loss {metrics['sft/loss']:.3f}")
        if self._task is not None and "reward/mean" in metrics:
            note = f"reward {metrics['reward/mean']:.3f}  kept {metrics['sampling/kept_rate']:.0%}"
            self._progress.update(self._task, completed=update, note=note)
        if "validation/reward" in metrics:
            self._console.print(_validation_line(metrics), highlight=False)
        elif "validation/loss" in metrics:
            self._console.print(_loss_line(metrics), highlight=False)


def _loss_line(metrics: Mapping[str, float | int | str]) -> str:
    """At most 80 columns."""
    parts = [f"  update {metrics['update']:>4}", f"validation loss {metrics['validation/loss']:6.3f}"]
    for name in ("whole", "stepwise"):
        if (key := f"validation/{name}_accuracy") in metrics:
            parts.append(f"{name} {metrics[key]:4.0%}")
    return "  ".join(parts)


def _validation_line(metrics: Mapping[str, float | int | str]) -> str:
    """At most 80 columns."""
    parts = [f"  update {metrics['update']:>4}", f"validation {metrics['validation/reward']:6.3f}"]
    parts.append(f"exact {metrics['validation/exact_match']:4.0%}")
    if "rollout/format_error_rate" in metrics:
        parts.append(f"format errors {metrics['rollout/format_error_rate']:.0%}")
    if metrics.get("sampling/kept_by_format_only_rate"):
        parts.append(f"format-only {metrics['sampling/kept_by_format_only_rate']:.0%}")
    return "  ".join(parts)
