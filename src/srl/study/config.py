"""A study file (strict TOML): one task, one base, one budget, and the methods that are compared on them.

Every method is a recipe. What must be equal for a fair comparison is not written into the recipes but filled in from
here (``plan.py``): run folder, seed, base, data, and the budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from srl.errors import ConfigError, require
from srl.recipe import load_settings

Unit = Literal["rollouts", "tokens", "seconds"]
"""What a budget is counted in."""
Kind = Literal["budget", "data", "base"]
"""What two runs may differ in when that is said."""
_PLAIN_NAME = "use letters, digits, '-' and '_'"


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is learned and how it is measured."""

    name: Literal["chains", "equations", "shell", "own"]
    """An embedded task, which brings its base and makes its data; or "own" with files."""
    num_train: int = 100
    """Expert trajectories to train on. Embedded tasks only."""
    num_validation: int = 20
    """Expert trajectories to validate on. Embedded tasks only."""
    num_test: int = 64
    """Problems to measure on. Embedded tasks only."""
    data_seed: int = 2026
    """Seed of the problems; the seeds of the study change the training alone. Embedded tasks only."""
    base_careless: float | None = None
    """Make a base of another quality first: the share of steps that it writes without thinking. Embedded tasks only."""
    base: str = ""
    """Folder or Hub id of the base; for an embedded task another base than its own."""
    train: str = ""
    """own: expert trajectories to train on."""
    train_traces: str = ""
    """own: the same by an expert who thinks aloud, for methods with `traces`."""
    validation: str = ""
    """own: expert trajectories to validate on."""
    validation_traces: str = ""
    """own: the same by an expert who thinks aloud."""
    problems: str = ""
    """own: problems with answers to measure on."""
    test_steps: str = ""
    """own: expert trajectories to measure single steps on. Empty: single steps are not measured."""
    max_solution_tokens: int = 2048
    """own: longest completion when a problem is solved."""
    max_step_tokens: int = 512
    """own: longest completion when a single step is measured."""
    max_steps: int = 32
    """own: longest chain of steps."""
    num_samples: int = 4
    """Samples per problem for avg@k, beside the greedy one; 0: greedy only."""
    num_validation_problems: int = 0
    """Held-out problems that each validation solves, for the learning curves. 0: as the recipes say."""
    evaluation_batch_size: int = 200
    """Completions sampled together when a model is measured."""

    def __post_init__(self) -> None:
        own = ("base", "train", "validation", "problems")
        files = ("train", "train_traces", "validation", "validation_traces", "problems", "test_steps")
        if self.name == "own":
            missing = [name for name in own if not getattr(self, name)]
            require(not missing, f'task.name = "own" needs {", ".join(f"task.{name}" for name in missing)}')
            require(self.base_careless is None, "task.base_careless needs an embedded task")
        else:
            given = [name for name in files if getattr(self, name)]
            require(not given, f"task.{', '.join(given)} have no effect with the embedded task {self.name!r}")
        for name in ("num_train", "num_validation", "num_test", "max_steps", "evaluation_batch_size"):
            require(getattr(self, name) >= 1, f"task.{name} must be at least 1")
        require(self.num_samples >= 0, "task.num_samples must be at least 0")
        require(self.num_validation_problems >= 0, "task.num_validation_problems must be at least 0")
        require(
            self.base_careless is None or 0 <= self.base_careless <= 1, "task.base_careless must be between 0 and 1"
        )


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What every run may spend on training. Exactly one of the three."""

    rollouts: int = 0
    """Rollouts; an example that SFT learns counts as one."""
    tokens: int = 0
    """Tokens of all rollouts, and of the completions that SFT learns."""
    seconds: float = 0.0
    """Seconds of sampling and updates, without validation. SFT is not limited by it. Not repeatable exactly."""
    tolerance: float = 0.1
    """By how much of the budget a run may be off and still be compared: a stage ends with a whole update."""

    def __post_init__(self) -> None:
        given = [name for name in ("rollouts", "tokens", "seconds") if getattr(self, name) > 0]
        require(
            len(given) == 1,
            f"[budget] needs exactly one of rollouts, tokens and seconds (found {given or 'none'})",
        )
        require(0 <= self.tolerance < 1, "budget.tolerance must be at least 0 and below 1")

    @property
    def unit(self) -> Unit:
        """What is counted."""
        return "rollouts" if self.rollouts else "tokens" if self.tokens else "seconds"

    @property
    def amount(self) -> float:
        """How much of it."""
        return self.rollouts or self.tokens or self.seconds


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """One method: a recipe with its share of the budget for each stage."""

    recipe: str
    """Its recipe, relative to the study file."""
    label: str = ""
    """Its name in tables; empty: its key."""
    shares: dict[str, float] = field(default_factory=dict[str, float])
    """Share of the budget by stage; they add up to 1. Needed with several stages."""
    traces: bool | tuple[str, ...] = False
    """Train on the text of the expert who thinks aloud: true, or the names of the stages that do."""
    set: dict[str, Any] = field(default_factory=dict[str, Any])
    """Changes of the recipe by dotted path, for instance { "stages.srl.sampling.dynamic" = false }."""

    def __post_init__(self) -> None:
        require(all(share > 0 for share in self.shares.values()), "shares must be above 0")
        total = sum(self.shares.values())
        require(not self.shares or abs(total - 1) < 1e-6, f"shares must add up to 1 (found {total:g})")


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """A table of the output; the base is its first row."""

    title: str
    """Heading."""
    methods: tuple[str, ...]
    """Methods in the order of their rows."""
    metrics: tuple[str, ...] = ()
    """Metrics in the order of their columns; empty: all."""

    def __post_init__(self) -> None:
        require(len(self.methods) > 0, "a table needs at least one method")


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """A grid of base quality x number of trajectories, on which every cell is a study of its own."""

    careless: tuple[float, ...]
    """Bases by the share of steps that they write without thinking."""
    num_train: tuple[int, ...]
    """Numbers of expert trajectories."""
    methods: tuple[str, ...] = ()
    """Methods that compete; empty: all."""
    metric: str = "whole/greedy"
    """By which metric a method wins, and the pass rate of the base is given."""

    def __post_init__(self) -> None:
        for name in ("careless", "num_train"):
            values = getattr(self, name)
            require(0 < len(values) == len(set(values)), f"map.{name} needs at least one value, each once")
        require(all(0 <= value <= 1 for value in self.careless), "map.careless must be between 0 and 1")
        require(min(self.num_train) >= 1, "map.num_train must be at least 1")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study, whole."""

    title: str
    """Heading of the output."""
    folder: str
    """Folder of everything that the study writes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the training; each method runs once with each."""
    compare_with: str = "rlvr"
    """Method that the others are compared with, beside the base."""
    allow_different: tuple[Kind, ...] = ()
    """Compare runs although these differ; it is then said under every table."""
    task: TaskConfig
    budget: BudgetConfig
    methods: dict[str, MethodConfig]
    """Methods by name, in the order of the file."""
    tables: dict[str, TableConfig] = field(default_factory=dict[str, TableConfig])
    """Tables by name; none: one table with all methods."""
    map: MapConfig | None = None
    """Run a map in place of the one grid."""

    def __post_init__(self) -> None:
        require(0 < len(self.seeds) == len(set(self.seeds)), "seeds need at least one seed, each once")
        require(len(self.methods) > 0, "a study needs at least one [methods.NAME] table")
        for name in [*self.methods, *self.tables]:
            plain = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
            require(plain and name != "base", f"the name {name!r} cannot be used; {_PLAIN_NAME}, and not 'base'")
        named = {f"tables.{name}.methods": table.methods for name, table in self.tables.items()}
        named |= {"map.methods": self.map.methods} if self.map else {}
        for place, methods in named.items():
            unknown = [method for method in methods if method not in self.methods]
            require(not unknown, f"{place} names {', '.join(unknown)}; the study has {', '.join(self.methods)}")
        if self.map is not None:
            require(
                self.task.name not in ("own", "shell"), "[map] needs an embedded text task: it makes bases and data"
            )
            require(self.task.base_careless is None, "task.base_careless has no effect with [map], which has its own")
            require(not self.tables, "[tables] have no effect with [map]")

    def label(self, method: str) -> str:
        """The name of a method, or of the base, in tables."""
        return "base" if method == "base" else self.methods[method].label or method


for _type in (StudyConfig, TaskConfig, BudgetConfig, MethodConfig, TableConfig, MapConfig):
    _type.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]


def load_study(path: Path) -> StudyConfig:
    """Read a study file. Raises ConfigError that names the key, what was found and what is allowed."""
    if not path.is_file():
        raise ConfigError(f"there is no study file {path}; give the path of a TOML file")
    return load_settings(path, StudyConfig)
