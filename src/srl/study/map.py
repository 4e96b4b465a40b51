"""A map: base quality x number of expert trajectories; in each cell the methods compete as in a study of its own.

A cell is the study with another base and another number of trajectories, in ``FOLDER/cells/NAME``. The adjusted bases
are made once and shared by a row of cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from srl.errors import ConfigError
from srl.study.config import MapConfig, StudyConfig
from srl.study.task_data import adjusted_base, adjusted_base_folder


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell."""

    careless: float
    """Quality of the base: the share of steps that it writes without thinking."""
    num_train: int
    """Expert trajectories."""

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"careless-{self.careless:g}-train-{self.num_train}"


def cells(study: StudyConfig) -> list[Cell]:
    """All cells, base by base."""
    chosen = _map(study)
    return [Cell(careless=careless, num_train=number) for careless in chosen.careless for number in chosen.num_train]


def cell_study(study: StudyConfig, name: str) -> StudyConfig:
    """The study of one cell. Raises ConfigError for a name that the map does not have."""
    by_name = {cell.name: cell for cell in cells(study)}
    if name not in by_name:
        raise ConfigError(f"the map has no cell {name!r}; it has {', '.join(by_name)}")
    cell, methods = by_name[name], map_methods(study)
    base = adjusted_base_folder(study, cell.careless)
    return replace(
        study,
        title=f"{study.title}: {name}",
        folder=str(Path(study.folder) / "cells" / name),
        task=replace(study.task, base=str(base), num_train=cell.num_train),
        methods={method: study.methods[method] for method in methods},
        map=None,
    )


def map_methods(study: StudyConfig) -> list[str]:
    """The methods that compete."""
    return list(_map(study).methods or study.methods)


def make_bases(study: StudyConfig) -> None:
    """Make the bases of all cells that are missing; minutes for each."""
    for careless in _map(study).careless:
        adjusted_base(study, careless, study.task.base)


def _map(study: StudyConfig) -> MapConfig:
    if study.map is None:
        raise ConfigError("the study has no [map]")
    return study.map
