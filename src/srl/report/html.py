"""Run folder -> report.html: one file that opens offline, reads without script and carries nothing from outside.

Every text of a run is hostile until shown otherwise. The template engine escapes each value (autoescape) after
``visible`` made its control characters readable (finalize), so no template line can forget either; and the page's
content security policy lets only the two pieces of our own, named by their hashes, act as style and script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import tyro
from markupsafe import Markup

from srl.diagnosis.diagnose import diagnose_run
from srl.report.charts import reward_strip
from srl.report.curves import Figure, stage_figures
from srl.report.facts import environment_facts, recipe_rows, summary
from srl.report.reward_section import NUM_EXAMPLES, reward_view
from srl.report.samples import MAX_CHARACTERS, Match, Piece, best_and_worst, choose_groups, clip_pieces, match_texts
from srl.report.score_table import score_columns, score_rows
from srl.report.text import clip_text, number, visible
from srl.run_dir import write_text
from srl.saved_run.load import load_run
from srl.saved_run.records import Run, SavedGroup, SavedRollout
from srl.saved_run.settings import StageSettings, stage_settings

_TIMES = ("time/rollout_seconds", "time/update_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageView:
    """One stage's curves."""

    name: str
    """Name of the stage."""
    kind: str
    """"srl", "rlvr" or "" when unknown."""
    num_updates: int
    """The last update."""
    median_seconds: str
    """Median time of an update, rollouts included, "" when not logged."""
    figures: list[Figure]
    """Its curves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutView:
    """One rollout, ready to print."""

    rollout: SavedRollout
    """As saved."""
    label: str
    """"best" or "worst" of the group, or "all equal"."""
    action: list[Piece]
    """The action in pieces, or the completion as sampled when it does not follow the format."""
    num_clipped: int
    """Characters of it left out."""
    monologue: tuple[str, int]
    """Its beginning, and how many characters were left out."""
    match: Match | None
    """How it matches the target; None when the stage does not compare texts or there is no action."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupView:
    """One group, ready to print."""

    group: SavedGroup
    """As saved."""
    compares_texts: bool
    """Whether the target is a text that the action is compared with."""
    strip: Markup
    """All rewards of the group."""
    rollouts: list[RolloutView]
    """The best and the worst."""
    target: list[Piece]
    """The target in pieces, marked for the first printed rollout."""
    num_clipped: int
    """Characters of the target left out."""


def report_command(run_dir: tyro.conf.Positional[Path]) -> None:
    """Write RUN_DIR/report.html, one self-contained page about a run, or about the study that a folder holds."""
    if (run_dir / "study.json").is_file():
        from srl.study.command import rewrite_study  # a later part of the tree, and of no use to a run

        print(f"wrote {rewrite_study(run_dir)}")
    else:
        print(f"wrote {write_report(run_dir)}")


def write_report(run_dir: Path) -> Path:
    """Write ``run_dir/report.html`` from the files of the run and return its path; the run itself is left alone.

    Raises RunDirError when the folder is no run. Everything else that is missing is named on the page.
    """
    page = render_report(load_run(run_dir))
    path = run_dir / "report.html"
    write_text(path, page)
    return path


def render_report(run: Run) -> str:
    """The page as text. Adds to ``run.notes`` what is missing, and what it finds unreadable among the rollouts."""
    if not (run.path / "scores.json").exists():
        run.notes.append("No scores yet: scores.json is written when the trained models are evaluated.")
    style, script = template_file("page.css"), template_file("page.js")
    engine = template_engine(template_file)
    settings = {stage: stage_settings(run.config, stage) for stage in run.stages}
    paid_for = [
        reward_view(stage, run.updates.get(stage.name, []), settings[stage.name])
        for stage in diagnose_run(run, num_examples=NUM_EXAMPLES)
    ]
    groups = [_group_view(group, settings[group.stage]) for group in choose_groups(run)]
    return engine.get_template("page.html.jinja").render(
        name=run.path.resolve().name,
        notes=run.notes,
        stages=[_stage_view(stage, records, settings[stage].kind) for stage, records in run.updates.items()],
        recipe=recipe_rows(run.config),
        config_text=json.dumps(run.config, indent=2, ensure_ascii=False) if run.config else "",
        environment=environment_facts(run),
        summary=summary(run),
        score_columns=score_columns(run.scores),
        score_rows=score_rows(run.scores),
        scores_info=run.scores_info,
        paid_for=paid_for,
        groups=groups,
        has_marks=any(item.match for view in groups for item in view.rollouts),
        num_rollouts=sum(len(view.rollouts) for view in groups),
        number=number,
        style=Markup(style),  # our own files, the only texts that are not escaped
        script=Markup(script),
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
    )


def _stage_view(stage: str, records: Sequence[dict[str, float]], kind: str) -> StageView:
    seconds = sorted(sum(record.get(key, 0.0) for key in _TIMES) for record in records if _TIMES[1] in record)
    return StageView(
        name=stage,
        kind=kind,
        num_updates=int(records[-1]["update"]),
        median_seconds=number(seconds[len(seconds) // 2]) if seconds else "",
        figures=stage_figures(records),
    )


def _group_view(group: SavedGroup, settings: StageSettings) -> GroupView:
    printed = best_and_worst(group)
    labels = ["all rewards equal"] if len(printed) == 1 else ["best of the group", "worst of the group"]
    views = [
        _rollout_view(group, group.rollouts[index], label, settings)
        for index, label in zip(printed, labels, strict=True)
    ]
    match = views[0].match
    target, num_clipped = clip_pieces(match.target if match else [Piece(text=group.target, size=0)])
    return GroupView(
        group=group,
        compares_texts=settings.kind == "srl",
        strip=reward_strip(
            [rollout.reward for rollout in group.rollouts],
            failed=[rollout.status != "ok" for rollout in group.rollouts],
            marked=printed,
        ),
        rollouts=views,
        target=target,
        num_clipped=num_clipped,
    )


def _rollout_view(group: SavedGroup, rollout: SavedRollout, label: str, settings: StageSettings) -> RolloutView:
    match = None
    if settings.kind == "srl" and settings.has_sequence and rollout.action:
        match = match_texts(
            rollout.action, group.target, autojunk=settings.autojunk, action_is_first=settings.is_action_first
        )
    pieces: Sequence[Piece] = match.action if match else [Piece(text=rollout.action or rollout.text, size=0)]
    action, num_clipped = clip_pieces(pieces)
    return RolloutView(
        rollout=rollout,
        label=label,
        action=action,
        num_clipped=num_clipped,
        monologue=clip_text(rollout.monologue, MAX_CHARACTERS),
        match=match,
    )


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def template_engine(load: Callable[[str], str]) -> jinja2.Environment:
    """Templates whose every value is escaped and made visible; ``load`` gives the text of a template by its name."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def template_file(name: str) -> str:
    """A file of the page's own."""
    return resources.files("srl.report").joinpath("templates", name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """What the content security policy calls a style or script of the page."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
