"""Writes docs/data-examples.md: what the model sees, five step examples of every source.

    python docs/make_examples.py                                             the samples in examples/data
    python docs/make_examples.py --data FOLDER --output FILE [--model PATH]  any other data

In: a folder of expert data, read as `srl decompose` reads it. Out: one page; for each format its sources (a file, or a
folder of logs that come one per file), for each of them five examples spread over its trajectories and their steps.
With `--model` the prompts go through that model's chat template.

The decision a reader would question: observations are cut shorter than `srl decompose` cuts them, by the same
function, because nobody reads a page of whole logs. Everything else stands as the model gets it.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srl.decomposition import run
from srl.decomposition.worker import shorten_observation
from srl.errors import SRLError
from srl.examples import make_step_examples
from srl.inspection.view import ModelView, PromptChoices, load_tokenizer
from srl.inspection.visible import escape_controls
from srl.prompts import DEFAULT_TEXTS
from srl.trajectories.reader import read_trajectories
from srl.trajectories.reasons import DropReason
from srl.types import ChatPrompt, DroppedRow, StepExample, Trajectory

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "examples" / "data"
PAGE = ROOT / "docs" / "data-examples.md"
NUM_EXAMPLES = 5
MAX_OBSERVATION_CHARS = 1_000

WHERE_FROM = {
    "rows": "A problem and its solution in columns: NuminaMath, MATH, proofs of DeepSeek-Math-V2, a table of your own; "
    "chats of one exchange.",
    "traces": "Solutions of reasoning models with their thinking: R1 and its distillations, OpenThoughts, Sky-T1, "
    "s1K-1.1. The thinking is kept apart: no prompt shows it and no reward compares with it.",
    "samples": "Several sampled solutions per problem with marks for right and wrong: outputs of evaluation code "
    "(Qwen2.5-Math, Sky-T1), OpenR1-Math. `--only-right` leaves the wrong ones out.",
    "zeroeval": "Result files of ZeroEval: JSON with the reasoning and the answer, inside a text that the model wrote, "
    "often with LaTeX and quotes that JSON does not allow.",
    "gsm8k": "GSM8K and what is written like it: one step per line, notes of a calculator, the answer after ####. In "
    "the Socratic variant the question is the step's title.",
    "swe-agent": "SWE-agent's .traj files of all versions.",
    "swe-smith": "SWE-smith's training rows: chats in which function calls stand as text.",
    "mini-swe-agent": "mini-swe-agent's .traj.json files, versions 1 and 2.",
    "openhands": "OpenHands' output.jsonl: one run per row, as a history of events.",
    "openhands-llm-log": "What OpenHands logs of each call of a model. The last log of a conversation holds all of it.",
    "openai-chat": "Chat logs with tool_calls, as OpenAI's API and most inference servers write them; tau-bench.",
    "openai-responses": "Logs of OpenAI's Responses API, NeMo-Gym's rollouts among them.",
    "anthropic": "Logs of Anthropic's API, with tool_use and tool_result blocks.",
    "chat": "Plain chats of several rounds, in OpenAI's or ShareGPT's form.",
}
"""Where data of each format come from, in the order of the page."""

HEAD = """\
<!-- Written by docs/make_examples.py; change the code or the samples and run it again. -->

# What the model sees

Five step examples from every kind of source: the prompt as the model gets it, the target that its action is compared
with, and the thought beside it, which is kept and not scored. They are made from {place} by
`python docs/make_examples.py`. With `--data FOLDER --output FILE` it writes the same page about your own data, with
`--model PATH` through a model's chat template. [data.md](data.md) says what each format is and how text is cut.

The five are spread over the trajectories of a source and over their steps; the first is open, the others unfold. Where
steps have titles, a sixth shows one with its title in the prompt (`title_in_prompt`). Last steps are trained on only
with `include_last_step`. Observations are cut to {limit:,} characters here, by the function that cuts them to
{default:,} in `srl decompose`.

## System messages

Every prompt begins with one of these two. The examples below leave it out.

For written solutions:

{step_system}

For agents:

{agent_system}
"""


def read_sources(data: Path) -> tuple[dict[tuple[str, str], list[Trajectory]], list[dict[str, Any]]]:
    """The trajectories below ``data`` by format and source, and what `srl decompose` reports as left out."""
    with tempfile.TemporaryDirectory(prefix="srl-examples-") as place:
        report = Path(place) / "drops.jsonl"
        run.decompose(str(data), Path(place) / "steps.jsonl", report=report)
        drops: list[dict[str, Any]] = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    superseded = [drop["source"] for drop in drops if drop["reason"] == DropReason.SUPERSEDED]
    sources: dict[tuple[str, str], list[Trajectory]] = {}
    for item in read_trajectories(str(data)):
        if isinstance(item, DroppedRow) or {"file": item.source.file, "row": item.source.row} in superseded:
            continue
        sources.setdefault((item.format, source_of(relative(item.source.file, data))), []).append(item)
    return sources, drops


def relative(file: str, data: Path) -> str:
    """The path below ``data``, the same on every machine."""
    return Path(file).relative_to(data).as_posix()


def source_of(file: str) -> str:
    """The file, or for logs that come one per file, their folder."""
    path = Path(file)
    return path.parent.as_posix() if path.suffix in (".json", ".traj") else path.as_posix()


def choose(num_steps: Sequence[int], number: int) -> list[tuple[int, int]]:
    """``number`` pairs of trajectory and step, or all where there are fewer, for trajectories of so many steps.

    The first is the first step of the first trajectory, the last the last step of the last, and between them both go
    on evenly. What this takes twice is made up for by the steps that come first.

    >>> choose([3, 9, 4], 5)
    [(0, 0), (0, 1), (1, 4), (2, 2), (2, 3)]
    """
    chosen: set[tuple[int, int]] = set()
    for share in (place / (number - 1) for place in range(number)):
        trajectory = round(share * (len(num_steps) - 1))
        chosen.add((trajectory, round(share * (num_steps[trajectory] - 1))))
    everything = [(trajectory, step) for trajectory, steps in enumerate(num_steps) for step in range(steps)]
    missing = [pair for pair in everything if pair not in chosen]
    return sorted([*chosen, *missing[: number - len(chosen)]])


def example_of(trajectory: Trajectory, step: int) -> StepExample:
    """The example of one step, its observations shortened for the page."""
    steps = tuple(shorten_observation(each, MAX_OBSERVATION_CHARS) for each in trajectory.steps)
    return make_step_examples(replace(trajectory, steps=steps))[step]


def fenced(text: str) -> str:
    r"""``text`` in a fence that is longer than any in it; control characters as escapes.

    >>> print(fenced("```\na\r\n```"))
    ````text
    ```
    a\r
    ```
    ````
    """
    longest = max((len(marks) for marks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{escape_controls(text)}\n{fence}"


def in_code(text: str) -> str:
    """``text`` in one line as code, whatever is in it."""
    marks = "`" * (max((len(marks) for marks in re.findall("`+", text)), default=0) + 1)
    padding = " " if len(marks) > 1 else ""
    return f"{marks}{padding}{escape_controls(' '.join(text.split()))}{padding}{marks}"


def prompt_text(prompt: ChatPrompt, view: ModelView) -> str:
    """The prompt with a mark before each message but the system's, or as the model's chat template writes it."""
    if view.has_model:
        return view.rendered(prompt).replace(prompt.messages[0]["content"], "(the system message)", 1)
    parts = [f"[{message['role']}]\n{message['content']}" for message in prompt.messages[1:]]
    return "\n\n".join(parts)


def example_block(trajectory: Trajectory, step: int, data: Path, view: ModelView, *, is_open: bool = False) -> str:
    """One example, folded away unless ``is_open``; the summary says where it is from."""
    example = example_of(trajectory, step)
    asked = view.training_example(example)
    of_title = ", title given" if view.choices.title_in_prompt else ""
    place = f"{relative(trajectory.source.file, data)}, row {trajectory.source.row}"
    parts = [
        f"<details{' open' if is_open else ''}>\n"
        f"<summary>Step {step + 1} of {len(trajectory.steps)}{of_title}: {html.escape(place)}</summary>",
        about(trajectory, step),
        fenced(prompt_text(asked.prompt, view)),
        "Target:",
        fenced(asked.target),
    ]
    if example.target_thought:
        parts += ["Thought, kept and not scored:", fenced(example.target_thought)]
    return "\n\n".join([*parts, "</details>"])


def about(trajectory: Trajectory, step: int) -> str:
    """What is known of the trajectory, in one line."""
    facts = [in_code(trajectory.trajectory_id), f"cut by `{trajectory.splitter}`"]
    if trajectory.is_right is not None:
        facts.append(f"marked {'right' if trajectory.is_right else 'wrong'} by its source")
    if trajectory.kind == "solution":
        facts.append("no final answer" if trajectory.answer is None else f"answer {in_code(trajectory.answer)}")
    if trajectory.reasoning:
        facts.append(f"{len(trajectory.reasoning):,} characters of thinking kept apart")
    if step == len(trajectory.steps) - 1:
        facts.append("the last step")
    return "; ".join(facts) + "."


def source_section(name: str, trajectories: Sequence[Trajectory], data: Path, tokenizer: Any) -> str:
    """One source: what was read from it, five examples, and for titled steps one with the title in the prompt."""
    view = ModelView(PromptChoices(), tokenizer)
    with_title = ModelView(PromptChoices(title_in_prompt=True), tokenizer)
    pairs = choose([len(trajectory.steps) for trajectory in trajectories], NUM_EXAMPLES)
    chosen = [(trajectories[place], step) for place, step in pairs]
    blocks = [example_block(*one, data, view, is_open=place == 0) for place, one in enumerate(chosen)]
    titled = [(one, step) for one, step in chosen if one.steps[step].title and one.steps[step].body]
    if titled:
        blocks.append(example_block(*titled[len(titled) // 2], data, with_title))
    files = sorted({relative(trajectory.source.file, data) for trajectory in trajectories})
    title = ", ".join(files) if len(files) < 3 else f"{len(files)} logs in {name}/"
    return "\n\n".join([f"### {title}", counts(trajectories), *blocks])


def counts(trajectories: Sequence[Trajectory]) -> str:
    """How much was read, and what was decided on the way."""
    notes, splitters = Counter[str](), Counter(trajectory.splitter for trajectory in trajectories)
    for trajectory in trajectories:
        notes.update(trajectory.notes)
    marks = Counter(trajectory.is_right for trajectory in trajectories if trajectory.is_right is not None)
    num_steps = sum(len(trajectory.steps) for trajectory in trajectories)
    facts = [f"Trajectories: {len(trajectories):,}", f"steps: {num_steps:,}", f"cut by {listed(splitters)}"]
    facts += [f"marked right: {marks[True]:,}, wrong: {marks[False]:,}"] if marks else []
    facts += [f"decided on the way: {listed(notes)}"] if notes else []
    return "; ".join(facts) + "."


def listed(counter: Counter[str]) -> str:
    """Names and counts, the most frequent first."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{name}` {count:,}" for name, count in ordered)


def drops_section(drops: Sequence[dict[str, Any]], data: Path) -> str:
    """What became no example: by file and reason how much, and the first one in words."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for drop in drops:
        groups.setdefault((relative(drop["source"]["file"], data), drop["reason"]), []).append(drop)
    lines = ["| file | reason | number | the first one |", "|---|---|---|---|"]
    for (file, reason), group in sorted(groups.items()):
        detail = group[0]["detail"].replace(f"{data}/", "")[:200]
        cell = html.escape(escape_controls(detail), quote=False).replace("|", "\\|")
        lines.append(f"| {file} | `{reason}` | {len(group):,} | row {group[0]['source']['row']}: {cell} |")
    return "## Left out\n\n" + ("\n".join(lines) if drops else "Nothing.")


def make_page(data: Path = SAMPLES, model: str | None = None) -> str:
    """The whole page."""
    tokenizer = None if model is None else load_tokenizer(model)
    sources, drops = read_sources(data)
    parts = [
        HEAD.format(
            place="[small samples](../examples/data)" if data == SAMPLES else f"`{data.name}`",
            limit=MAX_OBSERVATION_CHARS,
            default=run.MAX_OBSERVATION_CHARS,
            step_system=fenced(DEFAULT_TEXTS.step_system),
            agent_system=fenced(DEFAULT_TEXTS.agent_system),
        ).rstrip()
    ]
    for name, where_from in WHERE_FROM.items():
        found = {source: value for (format_name, source), value in sorted(sources.items()) if format_name == name}
        parts += [f"## `{name}`", where_from] if found else []
        parts += [source_section(source, value, data, tokenizer) for source, value in found.items()]
    return "\n\n".join([*parts, drops_section(drops, data)]) + "\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SAMPLES, help="folder of expert data")
    parser.add_argument("--output", type=Path, help="the page; docs/data-examples.md for the samples")
    parser.add_argument("--model", help="folder or Hub id of a model whose chat template is applied")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    if arguments.output is None and (data != SAMPLES or arguments.model is not None):
        parser.error("name a file with --output: docs/data-examples.md is for the samples alone")
    try:
        page = make_page(data, arguments.model)
    except SRLError as error:
        sys.exit(f"error: {error}")
    (arguments.output or PAGE).write_text(page, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
