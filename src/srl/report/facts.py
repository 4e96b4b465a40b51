"""config.json and environment.json -> the short tables of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from srl.report.text import number
from srl.saved_run.json_files import JsonObject, as_number, as_object, as_text
from srl.saved_run.records import Run
from srl.saved_run.settings import StageSettings, stage_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One line of a table."""

    label: str
    """What it is."""
    values: tuple[str, ...]
    """One value, or one for each stage; "" where the run does not say."""


def summary(run: Run) -> list[str]:
    """The run in one line: model, stages, seed, version, commit, device, start; what was not recorded is left out."""
    config, environment = run.config, run.environment
    git = as_object(environment.get("git"))
    commit, version = as_text(git.get("commit"))[:10], as_text(as_object(environment.get("versions")).get("srl"))
    seed, started = as_text(config.get("seed")), as_text(environment.get("started"))
    device = as_text(as_object(environment.get("hardware")).get("device"))
    parts = [
        as_text(as_object(config.get("model")).get("path")),
        " then ".join(as_object(config.get("stages")) or run.updates),
        f"seed {seed}" if seed else "",
        f"srl {version}" if version else "",
        f"commit {commit}{_dirty_mark(git)}" if commit else "",
        f"on {device}" if device else "",
        started.replace("T", " ")[:16],
    ]
    return [part for part in parts if part]


def recipe_rows(config: JsonObject) -> list[Fact]:
    """The recipe in brief: one value per stage; the first row holds the names of the stages. [] without stages."""
    stages = as_object(config.get("stages"))
    if not stages:
        return []
    rows = [Fact(label="Stage", values=tuple(stages))]
    for label, describe in _RECIPE_ROWS:
        values = tuple(describe(as_object(stage)) for stage in stages.values())
        if any(values):
            rows.append(Fact(label=label, values=values))
    return rows


def environment_facts(run: Run) -> list[Fact]:
    """Model, seed, versions, commit and hardware, as far as they were recorded."""
    model, environment = as_object(run.config.get("model")), run.environment
    git, hardware = as_object(environment.get("git")), as_object(environment.get("hardware"))
    versions = as_object(environment.get("versions"))
    facts = {
        "Model": as_text(model.get("path")),
        "Precision": as_text(model.get("precision")),
        "Seed": as_text(run.config.get("seed")),
        "Started": as_text(environment.get("started")),
        "Command": as_text(environment.get("command")),
        "Commit": as_text(git.get("commit")) + _dirty_mark(git) if git else "not recorded" if environment else "",
    }
    facts |= {key.replace("_", " ").capitalize(): as_text(value) for key, value in hardware.items()}
    facts["Versions"] = ", ".join(f"{name} {as_text(version)}" for name, version in versions.items())
    return [Fact(label=label, values=(value,)) for label, value in facts.items() if value]


def _dirty_mark(git: JsonObject) -> str:
    return " with uncommitted changes" if git.get("dirty") is True else ""


def _setting(stage: JsonObject, table: str, key: str) -> str:
    value = as_object(stage.get(table)).get(key)
    shown = as_number(value)
    return number(shown, 6) if shown is not None else as_text(value)


def _kind(stage: JsonObject) -> str:
    return as_text(stage.get("kind"))


def _if_sampled(key: str) -> Callable[[JsonObject], str]:
    """A setting of [sampling] that has no effect where nothing is sampled."""
    return lambda stage: "" if _kind(stage) == "sft" else _setting(stage, "sampling", key)


def _batch(stage: JsonObject) -> str:
    if _kind(stage) == "sft":
        return f"{_setting(stage, 'sft', 'batch_size')} examples"
    groups, size = _setting(stage, "sampling", "groups_per_update"), _setting(stage, "sampling", "group_size")
    return f"{groups} groups of {size} rollouts" if groups and size else ""


def _learning_rate(stage: JsonObject) -> str:
    if _kind(stage) == "sft":
        return f"{_setting(stage, 'sft', 'learning_rate')} at most, warm-up and cosine"
    return _setting(stage, "optimizer", "learning_rate")


def _length(stage: JsonObject) -> str:
    if _kind(stage) == "sft":
        most, epochs = (_setting(stage, "sft", key) for key in ("num_examples", "num_epochs"))
        return f"{most} examples or {epochs} epochs" if most not in ("", "0") else f"{epochs} epochs"
    updates, epochs = (_setting(stage, "schedule", key) for key in ("num_updates", "num_epochs"))
    limits = [f"{updates} updates" if updates not in ("", "0") else "", f"{epochs} epochs" if epochs else ""]
    return " or ".join(filter(None, limits))


def _reward(stage: JsonObject) -> str:
    """The whole [reward] table in words; "" where the config has none."""
    if _kind(stage) == "rlvr":
        return "final answer right (1) or wrong (0)"
    if _kind(stage) == "sft":
        return f"none; learns the expert's {_setting(stage, 'sft', 'teach')}"
    if not as_object(stage.get("reward")):
        return ""
    settings = stage_settings({"stages": {"": stage}}, "")
    parts = [_similarity(settings)]
    low, high = settings.thresholds
    if (low, high) != (0.0, 1.0):
        parts.append(f"0 up to {number(low)}, 1 from {number(high)} on")
    weight = number(settings.outcome_weight)
    if settings.outcome == "gate":
        parts.append(f"a wrong final answer takes away {weight} of it")
    elif settings.outcome == "blend":
        parts.append(f"blended with the final answer, which counts {weight}")
    return "; ".join([*parts, f"{number(settings.format_penalty)} for a broken format"])


def _similarity(settings: StageSettings) -> str:
    arguments = "(action, target)" if settings.is_action_first else "(target, action)"
    sequence = f"of {arguments}, autojunk {'on' if settings.autojunk else 'off'}"
    if list(settings.similarity) == ["sequence"]:
        return f"similarity {sequence}"
    total = sum(settings.similarity.values()) or 1.0
    names = [
        (f"{number(weight / total)} of " if len(settings.similarity) > 1 else "")
        + (f"sequence {sequence}" if name == "sequence" else name)
        for name, weight in settings.similarity.items()
    ]
    return "similarity " + " and ".join(names)


def _prompt(stage: JsonObject) -> str:
    if _kind(stage) == "rlvr" or (_kind(stage) == "sft" and _setting(stage, "sft", "teach") != "steps"):
        return "the problem; the whole solution is asked for"
    place, title = _setting(stage, "prompt", "context_in"), _setting(stage, "prompt", "title_in_prompt")
    return f"earlier steps in the {place} turn, {'with' if title == 'true' else 'without'} the title" if place else ""


def _clipping(stage: JsonObject) -> str:
    if _kind(stage) == "sft":
        return "cross-entropy of completions"
    low, high, beta = (_setting(stage, "loss", key) for key in ("clip_low", "clip_high", "beta"))
    return f"clip {low} below, {high} above; KL weight {beta}" if low and high else ""


_RECIPE_ROWS: tuple[tuple[str, Callable[[JsonObject], str]], ...] = (
    ("Kind", _kind),
    ("Training data", lambda stage: _setting(stage, "data", "train")),
    ("Prompt", _prompt),
    ("Reward", _reward),
    ("Batch", _batch),
    ("Kept above a reward std of", _if_sampled("min_reward_std")),
    ("Temperature", _if_sampled("temperature")),
    ("Completion tokens, at most", lambda stage: _setting(stage, "sampling", "max_completion_tokens")),
    ("Learning rate", _learning_rate),
    ("Loss", _clipping),
    ("Ends after", _length),
)
