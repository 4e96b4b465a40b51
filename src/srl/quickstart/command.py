"""The command ``srl quickstart``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console


def quickstart_command(
    *,
    run_dir: Path = Path("runs/quickstart"),
    seed: int = 0,
    compare: bool = False,
    resume: bool = False,
    rebuild_base: bool = False,
) -> None:
    """Train a small policy with SRL, then RLVR, on an embedded task, and show what it gained. Minutes on two CPU cores.

    Args:
        run_dir: Folder to write; data and base go to a folder of that name with "-data" added.
        seed: Seed of the training.
        compare: Also train RLVR alone and SFT on the expert's actions, from the same base at the same budget.
        resume: Continue a quickstart that was stopped.
        rebuild_base: Train the base from nothing first, in place of the shipped one (ten minutes).
    """
    from srl.quickstart.run import print_result, quickstart  # torch is loaded only when there is work for it

    console = Console()
    result = quickstart(run_dir, console, seed=seed, compare=compare, resume=resume, from_nothing=rebuild_base)
    print_result(result, console)
    console.print(f"scores: {run_dir / 'scores.json'}\nreport: {run_dir / 'report.html'}", highlight=False)
