"""A trajectory or a step example -> the terminal: what the model will be asked, what is wanted, and how long it all is.

The decision a reader would question: of a trajectory one step is shown, the middle one unless another is named. Its
prompt is what a prompt of this data looks like; the first has no context, and the last is not trained on.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srl.errors import ConfigError
from srl.examples import make_step_examples
from srl.inspection.view import ModelView
from srl.inspection.visible import in_one_line, visible
from srl.types import ChatPrompt, StepExample, Trajectory

_NUM_STEPS_LISTED = 15
_WIDTH = 80


def show_trajectory(trajectory: Trajectory, step: int | None, view: ModelView, console: Console) -> None:
    """What is known of the trajectory, its steps, and one of them as an example. Raises ConfigError without it."""
    examples = make_step_examples(trajectory, context_turns=view.choices.context_turns)
    chosen = len(examples) // 2 if step is None else step
    if not 0 <= chosen < len(examples):
        raise ConfigError(f"--step {chosen}: the trajectory has steps 0 to {len(examples) - 1}")
    marked = {True: ", marked right", False: ", marked wrong", None: ""}[trajectory.is_right]
    cut_by = f" by {trajectory.splitter}" if trajectory.splitter else ""
    about = f"{trajectory.kind}, read as {trajectory.format}, {len(examples)} steps{cut_by}{marked}"
    _field(console, "trajectory", trajectory.trajectory_id)
    _field(console, "", about)
    _field(console, "source", f"{trajectory.source.file}, row {trajectory.source.row}")
    if trajectory.kind == "solution":
        _field(console, "answer", "none was found" if trajectory.answer is None else trajectory.answer)
    if trajectory.notes:
        _field(console, "notes", ", ".join(f"{name} {count}" for name, count in trajectory.notes.items()))
    if trajectory.reasoning:
        _field(console, "reasoning", f"{len(trajectory.reasoning):,} characters, kept and not shown to the model")
    _show_steps(trajectory, chosen, console)
    _show_prompt_and_target(examples[chosen], view, console)


def show_example(example: StepExample, view: ModelView, console: Console) -> None:
    """One step example."""
    _field(console, "trajectory", example.trajectory_id)
    _field(console, "", f"{example.kind}, step {example.step_index} of {example.num_steps}, counted from 0")
    _field(console, "source", f"{example.source.file}, row {example.source.row}")
    if example.kind == "solution":
        _field(console, "answer", "not known" if example.answer is None else example.answer)
    _show_prompt_and_target(example, view, console)


def _show_steps(trajectory: Trajectory, chosen: int, console: Console) -> None:
    first = max(0, min(chosen - _NUM_STEPS_LISTED // 2, len(trajectory.steps) - _NUM_STEPS_LISTED))
    listed = trajectory.steps[first : first + _NUM_STEPS_LISTED]
    _rule(console, f"steps {first} to {first + len(listed) - 1} of {len(trajectory.steps)}, with their characters")
    for index, step in enumerate(listed, start=first):
        head = f"{'>' if index == chosen else ' '} {index:>3} {len(step.text):>7,}  "
        line = Text(head, style="bold" if index == chosen else "")
        console.print(line.append_text(in_one_line(step.text, _WIDTH - len(head))), soft_wrap=True)


def _show_prompt_and_target(example: StepExample, view: ModelView, console: Console) -> None:
    fitted = view.fitted(example)
    if fitted is None:
        _rule(console, "prompt: too long, this example cannot be used")
        _print_plain(
            console,
            f"The prompt has more than {view.choices.max_prompt_tokens:,} tokens even without the rounds of an agent's "
            "context; a problem and a solution's steps are never cut. Below it stands in full.",
        )
    shown = fitted or view.shown(example)
    asked = view.training_example(shown)
    rendered = view.rendered(asked.prompt)
    if view.has_model:
        _rule(console, f"prompt of step {example.step_index}, {view.count([rendered])[0]:,} tokens")
        console.print(visible(rendered, view.special_tokens), soft_wrap=True)
    else:
        for message in asked.prompt.messages:
            _rule(console, f"{message['role']}, prompt of step {example.step_index}")
            console.print(visible(message["content"]), soft_wrap=True)
        if asked.prompt.assistant_prefix:
            _rule(console, "the assistant's turn begins with")
            console.print(visible(asked.prompt.assistant_prefix), soft_wrap=True)
    _rule(console, "target")
    console.print(visible(asked.target), soft_wrap=True)
    if example.target_thought:
        _rule(console, "the expert's thought beside it, neither shown nor scored")
        console.print(visible(example.target_thought), soft_wrap=True)
    _rule(console, "lengths")
    _show_lengths(view.shown(example), shown, asked.prompt, rendered, asked.target, view, console)


def _show_lengths(
    example: StepExample,
    shown: StepExample,
    prompt: ChatPrompt,
    rendered: str,
    target: str,
    view: ModelView,
    console: Console,
) -> None:
    """Characters and tokens of the parts, and what was cut of them."""
    parts = [("system text", prompt.messages[0]["content"], ""), ("problem", shown.problem, "")]
    if example.kind == "solution" and example.context:
        parts.append((f"steps 0 to {example.step_index - 1}", "".join(example.context), ""))
    elif example.kind == "agent":
        parts += _rounds(example, shown)
    parts += [("whole prompt", rendered, ""), ("target", target, "")]
    if example.target_thought:
        parts.append(("thought", example.target_thought, ""))
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("")
    for heading in ("characters", "tokens") if view.has_model else ("characters",):
        table.add_column(heading, justify="right")
    table.add_column("")
    tokens = view.count([text for _, text, _ in parts])
    for place, (name, text, note) in enumerate(parts):
        counted = [f"{tokens[place]:,}"] if tokens else []
        table.add_row(name, f"{len(text):,}", *counted, note)
    console.print(table)
    if not view.has_model:
        _print_plain(
            console, "Name the model with --model to see its chat template, and what is cut to how many tokens."
        )


def _rounds(example: StepExample, shown: StepExample) -> list[tuple[str, str, str]]:
    """Name, text and note of each action and observation of an agent's context, as far as they are shown."""
    num_left_out = len(example.context) - len(shown.context)
    first = example.step_index - len(shown.context) + 1
    rounds: list[tuple[str, str, str]] = []
    for place, (action, observation) in enumerate(zip(shown.context, shown.observations, strict=True)):
        whole = (example.context[num_left_out + place], example.observations[num_left_out + place])
        for name, text, original in (("action", action, whole[0]), ("observation", observation, whole[1])):
            note = f"cut from {len(original):,} characters" if text != original else ""
            rounds.append((f"{name} {first + place}", text, note))
    if num_left_out:
        rounds.insert(0, ("rounds", "", f"{num_left_out} more left out, so that the prompt fits"))
    return rounds


def _field(console: Console, name: str, value: str) -> None:
    console.print(Text.assemble((f"{name:<12}", "bold"), visible(value)), soft_wrap=True)


def _rule(console: Console, title: str) -> None:
    line = f"── {title} "
    console.print(Text(line + "─" * max(2, _WIDTH - len(line)), style="dim"), soft_wrap=True)


def _print_plain(console: Console, text: str) -> None:
    console.print(Text(text), width=_WIDTH)
