"""Forget the runs of some methods, so that they are done again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from srl.study.config import StudyConfig
from srl.study.plan import run_folder, run_keys
from srl.study.rows import row_path


def forget_methods(study: StudyConfig, methods: Sequence[str]) -> None:
    """Remove rows, run folders and samples of these methods; "base" is one, too."""
    for key in run_keys(study):
        if key.method in methods:
            row_path(study.folder, key).unlink(missing_ok=True)
            shutil.rmtree(run_folder(study, key), ignore_errors=True)
            shutil.rmtree(Path(study.folder) / "evaluation" / key.name, ignore_errors=True)
