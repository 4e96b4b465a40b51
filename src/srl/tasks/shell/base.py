"""The shipped base of the shell task: ``python -m srl.tasks.shell.base FOLDER`` trains it from nothing on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import tyro

from srl.tasks.pretraining import BaseRecipe, rebuild_base
from srl.tasks.shell.corpus import SET_PHRASES, write_documents
from srl.tasks.shell.expert import BASE_FOLDER
from srl.tasks.task import TextTask, WriteDocuments

SHELL_RECIPE = BaseRecipe(vocab_size=400)
"""That of the other bases, with room for the names of the files."""


@dataclass(frozen=True, kw_only=True)
class _Corpus:
    """The part of a task that its base is made from."""

    base_folder: Path = BASE_FOLDER
    write_documents: WriteDocuments = write_documents
    set_phrases: tuple[str, ...] = SET_PHRASES


def rebuild_shell_base(folder: Path, recipe: BaseRecipe = SHELL_RECIPE, *, log_every: int = 0) -> None:
    """Train the base and write it to ``folder``; ``log_every`` prints the loss every so many updates."""
    rebuild_base(cast("TextTask", _Corpus()), folder, recipe, log_every=log_every)


def main(
    folder: tyro.conf.Positional[Path], *, log_every: Annotated[int, tyro.conf.arg(name="log-every")] = 50
) -> None:
    """Train the base of the shell task from nothing: ten to twenty minutes on one core.

    Args:
        folder: Where the model is written.
        log_every: Updates between two losses that are printed.
    """
    rebuild_shell_base(folder, log_every=log_every)


if __name__ == "__main__":
    tyro.cli(main)
