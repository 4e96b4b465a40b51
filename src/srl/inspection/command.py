"""``srl inspect`` on the command line: options -> one item or the summary of a source, in the terminal."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from srl.errors import ConfigError
from srl.example_store import read_items
from srl.inspection.items import find_item
from srl.inspection.show import show_example, show_trajectory
from srl.inspection.summary import print_summary
from srl.inspection.view import ModelView, PromptChoices, choices_of_stage, load_tokenizer
from srl.prompts import ContextPlace
from srl.trajectories.formats import check_format
from srl.trajectories.settings import ReadSettings
from srl.types import Trajectory


def inspect_command(
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")],
    /,
    *,
    index: int | None = None,
    id: str | None = None,
    step: int | None = None,
    summary: bool = False,
    model: str | None = None,
    recipe: Path | None = None,
    stage: str | None = None,
    context_in: ContextPlace | None = None,
    title_in_prompt: bool | None = None,
    context_turns: int | None = None,
    max_observation_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    format: str = "auto",
    problem_field: str = "",
    solution_field: str = "",
) -> None:
    """Show a trajectory or a step example as the model will see it, or a page of lengths of the whole file.

    FILE holds trajectories in any format that srl decompose reads, or the step examples that it writes.

    Args:
        source: File, folder, or Hub dataset as owner/name or owner/name:split.
        index: Position of what to show, from 0, dropped rows counted. Neither this nor an id: the first that reads.
        id: Id of the trajectory to show.
        step: Step to show, from 0; the middle one of a trajectory unless named.
        summary: Read everything, and show counts and histograms of lengths.
        model: Folder or Hub id of a model: apply its chat template and count its tokens.
        recipe: Take all that shapes the prompt from a stage of this recipe.
        stage: Name of that stage; the first one that asks for single steps unless named.
        context_in: Where a solution's earlier steps stand: user (as without it) or assistant.
        title_in_prompt: Give the title of the step and ask for what stands under it.
        context_turns: Rounds of action and observation of an agent's context; 2 unless given.
        max_observation_tokens: Cut longer observations in the middle to this many tokens of the model.
        max_prompt_tokens: Cut an agent's context until the prompt has at most this many tokens.
        format: How to read every row, in place of what its content says.
        problem_field: Column of the problem in rows of text; empty: the usual names.
        solution_field: Column of the solution in rows of text; empty: the usual names.
    """
    check_format(format)
    if summary and (index, id, step) != (None, None, None):
        raise ConfigError("--index, --id and --step choose what to show and have no effect with --summary")
    given = {
        "context_in": context_in, "title_in_prompt": title_in_prompt, "context_turns": context_turns,
        "max_observation_tokens": max_observation_tokens, "max_prompt_tokens": max_prompt_tokens,
    }  # fmt: skip
    choices = _choices({name: value for name, value in given.items() if value is not None}, recipe, stage, model)
    view = ModelView(choices, None if model is None else load_tokenizer(model))
    items = read_items(source, ReadSettings(format=format, problem_field=problem_field, solution_field=solution_field))
    console = Console(highlight=False, emoji=False)
    if summary:
        print_summary(source, items, view, console)
    elif isinstance(item := find_item(items, source, index=index, trajectory_id=id, step=step), Trajectory):
        show_trajectory(item, step, view, console)
    else:
        show_example(item, view, console)


def _choices(given: dict[str, Any], recipe: Path | None, stage: str | None, model: str | None) -> PromptChoices:
    """From the recipe or from the options, never from both."""
    options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if recipe is not None:
        if given:
            raise ConfigError(f"--recipe has all that shapes the prompt; leave {options} out, or change the recipe")
        return choices_of_stage(recipe, stage, model)
    if stage is not None:
        raise ConfigError("--stage names a stage of a recipe; give --recipe too, or leave it out")
    in_tokens = [
        field.name for field in fields(PromptChoices) if field.name.endswith("_tokens") and field.name in given
    ]
    if in_tokens and model is None:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in in_tokens)
        raise ConfigError(f"{named} counts tokens; name the model that they are counted with: --model")
    return PromptChoices(**given)
