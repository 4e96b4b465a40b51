"""The samples in examples/data, counted by hand: what every reader makes of them, and the page that shows it.

The samples are in the shape that the writers of each format use, odd things included, so these tests check the readers
on machines without the real files.
"""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.tasks.tiny_model import train_tokenizer
from srl.trajectories.formats import FORMATS, format_of
from srl.trajectories.reader import read_trajectories
from srl.trajectories.rows import Row, read_rows
from srl.types import DroppedRow, Step, Trajectory

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "examples" / "data"


def load_make_examples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_examples", ROOT / "docs" / "make_examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_examples = load_make_examples()


@dataclass(frozen=True)
class Sample:
    """One file, as a person counts it."""

    format: str
    steps: dict[str, int]
    """Steps of every trajectory, by its id."""
    marked: dict[str, bool] = field(default_factory=dict[str, bool])
    """What the source says of them."""
    cut_by: tuple[str, ...] = ("turns",)
    notes: dict[str, int] = field(default_factory=dict[str, int])
    drops: tuple[tuple[int, str], ...] = ()
    """Row and reason."""


SAMPLE_OF = {
    "anthropic.jsonl": Sample("anthropic", {"clock-2": 5}, notes={"parallel_calls": 1, "empty_actions": 1}),
    "chat.jsonl": Sample("chat", {"tutor-1": 3, "tutor-2": 2}, cut_by=("turns", "turns")),
    "gsm8k.jsonl": Sample("gsm8k", {"gsm8k-0": 4, "gsm8k-1": 3}, cut_by=("lines", "lines")),
    "gsm8k-socratic.jsonl": Sample("gsm8k", {"gsm8k-socratic-0": 5}, cut_by=("lines",)),
    "mini-swe-agent.traj.json": Sample("mini-swe-agent", {"tally__tally-31": 5}, notes={"format_errors": 1}),
    "mini-swe-agent-2.traj.json": Sample(
        "mini-swe-agent", {"mini-swe-agent-2-0": 3}, notes={"parallel_calls": 1, "format_errors": 1}),
    "openai-chat.jsonl": Sample(
        "openai-chat", {"openai-chat-3-0": 5, "csv-1": 2}, marked={"openai-chat-3-0": True},
        cut_by=("turns", "turns"), notes={"parallel_calls": 1, "empty_actions": 1}),
    "openai-responses.jsonl": Sample(
        "openai-responses", {"own_agent-roman__roman-4-2": 5}, marked={"own_agent-roman__roman-4-2": False},
        notes={"parallel_calls": 1, "empty_actions": 1}),
    "openhands.jsonl": Sample(
        "openhands", {"attic__attic-7": 5, "own__attic-9": 3}, marked={"attic__attic-7": True, "own__attic-9": False},
        cut_by=("turns", "turns"), notes={"empty_actions": 1, "format_errors": 1}),
    "openhands-llm-log-1.json": Sample(
        "openhands-llm-log", {"openhands-llm-log-1-0": 2}, notes={"truncated_logs": 1}),
    "openhands-llm-log-2.json": Sample("openhands-llm-log", {"openhands-llm-log-2-0": 5}, notes={"empty_actions": 1}),
    "rows-chat.jsonl": Sample("rows", {"rows-chat-0": 3, "rows-chat-1": 3}, cut_by=("titled-numbers", "labels")),
    "rows-headings.jsonl": Sample("rows", {"rows-headings-0": 5}, cut_by=("headings",)),
    "rows-numbered.jsonl": Sample(
        "rows", {"hall-seats": 3, "paint-mix": 3}, cut_by=("titled-numbers", "titled-numbers"),
        drops=((2, "missing_field"),)),
    "rows-prose.jsonl": Sample(
        "rows", {"rows-prose-0": 4, "rows-prose-1": 5}, cut_by=("sentences", "paragraphs"),
        drops=((2, "too_few_steps"),)),
    "samples.jsonl": Sample(
        "samples", {"samples-0/0": 2, "samples-0/1": 2, "samples-1/0": 4, "samples-1/1": 3},
        marked={"samples-0/0": True, "samples-0/1": False, "samples-1/0": True, "samples-1/1": True},
        cut_by=("paragraphs", "paragraphs", "plain-numbers", "bullets"), drops=((0, "empty_field"),)),
    "swe-agent.traj": Sample("swe-agent", {"swe-agent-0": 6}, notes={"format_errors": 1}),
    "swe-agent-history.traj": Sample(
        "swe-agent", {"swe-agent-history-0": 3}, notes={"format_errors": 1, "harness_turns": 1}),
    "swe-smith.jsonl": Sample(
        "swe-smith", {"quill__quill-8.run1": 5}, marked={"quill__quill-8.run1": True}, notes={"format_errors": 1}),
    "traces-s1k.jsonl": Sample(
        "traces", {"traces-s1k-0": 3, "traces-s1k-1": 3}, marked={"traces-s1k-0": True, "traces-s1k-1": False},
        cut_by=("titled-numbers", "paragraphs")),
    "traces-think.jsonl": Sample(
        "traces", {"traces-think-0": 3, "traces-think-1": 2}, marked={"traces-think-0": True, "traces-think-1": False},
        cut_by=("titled-numbers", "sentences"), drops=((2, "unfinished"),)),
    "traces-thought.jsonl": Sample(
        "traces", {"traces-thought-0": 3, "traces-thought-1": 3}, cut_by=("bold-lines", "paragraphs"),
        drops=((2, "unfinished"),)),
    "zeroeval.json": Sample(
        "zeroeval", {"0": 4, "1": 3}, cut_by=("plain-numbers", "paragraphs"), drops=((2, "empty_field"),)),
}  # fmt: skip
NUM_TRAJECTORIES, NUM_STEPS = 36, 130
"""In the folder as a whole, where the second LLM log supersedes the first."""


def trajectories(name: str) -> list[Trajectory]:
    return [item for item in read_trajectories(str(SAMPLES / name)) if isinstance(item, Trajectory)]


def step(name: str, trajectory: int, index: int) -> Step:
    return trajectories(name)[trajectory].steps[index]


def test_every_sample_is_counted_and_every_format_has_one() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == set(SAMPLE_OF)
    assert {sample.format for sample in SAMPLE_OF.values()} == set(FORMATS) == set(make_examples.WHERE_FROM)
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 100_000


@pytest.mark.parametrize("name", sorted(SAMPLE_OF))
def test_a_sample_reads_as_a_person_counts_it(name: str) -> None:
    sample = SAMPLE_OF[name]
    rows = [row for row in read_rows(str(SAMPLES / name)) if isinstance(row, Row)]
    found = trajectories(name)
    drops = [item for item in read_trajectories(str(SAMPLES / name)) if isinstance(item, DroppedRow)]
    solved = {format_of(row.value) for row in rows if (row.source.row, "missing_field") not in sample.drops}
    assert solved == {sample.format} == {trajectory.format for trajectory in found}
    assert {trajectory.trajectory_id: len(trajectory.steps) for trajectory in found} == sample.steps
    assert {t.trajectory_id: t.is_right for t in found if t.is_right is not None} == sample.marked
    assert tuple(trajectory.splitter for trajectory in found) == sample.cut_by
    assert sum((Counter(trajectory.notes) for trajectory in found), Counter()) == sample.notes
    assert tuple((drop.source.row, drop.reason) for drop in drops) == sample.drops


@pytest.mark.parametrize(
    ("name", "trajectory", "index", "text"),
    [
        ("gsm8k.jsonl", 1, 0, "Twelve tickets cost 12*2.50 = $30.\n"),
        ("gsm8k-socratic.jsonl", 0, 4, "#### 3"),
        ("zeroeval.json", 1, 1, "Then \\frac{x}{3} becomes \\(2x\\) and \\frac{x}{6} becomes \\(x\\), so that "
         "\\[ 2x + x = 30. \\]\n\n"),
        ("zeroeval.json", 1, 2, 'Therefore \\(3x = 30\\) and \\(x = 10\\), the "only" solution.'),
        ("traces-thought.jsonl", 1, 0, "Put all books in one line first; there are $4! = 24$ lines.\n\n"),
        ("swe-agent-history.traj", 0, 1, "edit 3:3\n    return day.isoformat()[:10]\nend_of_edit"),
        ("mini-swe-agent.traj.json", 0, 2, "sed -i '6d' tally/days.py && nl -ba tally/days.py"),
        ("mini-swe-agent-2.traj.json", 0, 0, "cat names.py\n\ncat test_names.py"),
        ("openhands.jsonl", 1, 2, "<function=finish>\n</function>"),
        ("openhands-llm-log-2.json", 0, 2, "python3 /workspace/primes.py"),
        ("openai-chat.jsonl", 0, 0, "Gladly. What is your reader number?"),
        ("swe-smith.jsonl", 0, 2, "<function=str_replace_editor>\n<parameter=command>\nstr_replace\n</parameter>\n"
         "<parameter=path>\n/testbed/quill/help.py\n</parameter>\n<parameter=old_str>\n"
         '    return text[: text.rindex("</parameter>")]\n</parameter>\n<parameter=new_str>\n'
         '    mark = "</parameter>"\n    return text[: text.rindex(mark) + len(mark)]\n</parameter>\n</function>'),
    ],
)  # fmt: skip
def test_what_an_odd_step_becomes(name: str, trajectory: int, index: int, text: str) -> None:
    assert step(name, trajectory, index).text == text


def test_what_stands_beside_an_action() -> None:
    both = step("anthropic.jsonl", 0, 0)
    assert both.thought == "The file and where it is used, both at once.\n\nI read the clock and look for its users."
    assert both.observation.endswith('{minutes % 60:02}"\n\n./tower.py')
    assert step("openai-chat.jsonl", 1, 0).observation == "17\n\n0"  # the answers came in the other order
    assert step("openhands.jsonl", 0, 2).thought.startswith("Let me think before I change it.")
    assert step("chat.jsonl", 1, 0).thought == "221 = 13 * 17. Do not tell."
    assert trajectories("swe-agent-history.traj")[0].problem.startswith("The jar labels are one day off\n")
    assert trajectories("traces-think.jsonl")[0].reasoning.startswith("Okay, numbers with remainder 3 for 7: 3, 10,")


@pytest.mark.parametrize(
    ("source", "code", "num_trajectories", "num_steps"),
    [
        ("examples/data", 3, NUM_TRAJECTORIES, NUM_STEPS),  # seven rows are left out
        ("examples/data/gsm8k.jsonl", 0, 2, 7),
    ],
)
def test_decompose_as_a_user_runs_it(
    source: str, code: int, num_trajectories: int, num_steps: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "srl.cli", "decompose", source, "-o", str(tmp_path / "steps")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == code, ended.stderr
    summary = json.loads((tmp_path / "steps" / ".srl" / "summary.json").read_text("utf-8"))
    assert (summary["num_parsed"], summary["num_examples"]) == (num_trajectories, num_steps)
    assert sum(summary["dropped"].values()) == (7 if code else 0)
    written = (tmp_path / "steps" / "examples-00000.jsonl").read_text("utf-8").splitlines()
    assert len(written) == num_steps


def test_the_page_is_up_to_date() -> None:
    page = make_examples.PAGE.read_text("utf-8")
    assert make_examples.make_page() == page, "run: python docs/make_examples.py"
    assert str(ROOT) not in page


def test_the_page_has_five_examples_of_every_source() -> None:
    page = make_examples.PAGE.read_text("utf-8")
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", page, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^## `([\w-]+)`$", outside.split("## Left out", 1)[0], flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(sections) == set(FORMATS)
    for name, section in sections.items():
        sources = re.split(r"^### .*$", section, flags=re.MULTILINE)[1:]
        plain = [len(re.findall(r"^<summary>Step \d+ of \d+: ", source, re.MULTILINE)) for source in sources]
        assert sources, name
        assert plain == [5] * len(sources), name
        assert all(source.count("<details open>") == 1 for source in sources), name
        assert section.count("<details") == section.count("</details>") == section.count("Target:")
    assert page.count("[... 140 characters left out ...]") > 0
    for only_once in ("You solve hard problems one step at a time.", "You work in an environment,"):
        assert page.count(only_once) == 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(2, 7))
def test_examples_are_spread_and_never_shown_twice(num_steps: list[int], number: int) -> None:
    chosen = make_examples.choose(num_steps, number)
    assert len(chosen) == len(set(chosen)) == min(number, sum(num_steps))
    assert all(0 <= step < num_steps[trajectory] for trajectory, step in chosen)
    assert (chosen[0], chosen[-1]) == ((0, 0), (len(num_steps) - 1, num_steps[-1] - 1))


@given(st.text("`\n a", max_size=40))
def test_no_text_ends_its_fence(text: str) -> None:
    first, *inside, last = make_examples.fenced(text).split("\n")
    assert first == f"{last}text"
    assert "\n".join(inside) == text
    assert set(last) == {"`"}
    assert last not in text


def test_the_doctests_of_the_script() -> None:
    result = doctest.testmod(make_examples)
    assert (result.failed, result.attempted) == (0, 2)


def test_other_data_through_a_chat_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_tokenizer(["A bus ticket costs $2.50"], 300).save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bus.jsonl").write_bytes((SAMPLES / "gsm8k.jsonl").read_bytes())
    monkeypatch.setattr(
        "sys.argv",
        ["make_examples.py", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "page.md"),
         "--model", str(tmp_path / "model")],
    )  # fmt: skip
    make_examples.main()
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "(the system message)" in page
    assert "[user]" not in page
    assert "### bus.jsonl" in page
    assert page.endswith("## Left out\n\nNothing.\n")


@pytest.mark.parametrize("arguments", [["--data", "."], ["--model", "m"]])
def test_the_committed_page_is_of_the_samples_alone(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["make_examples.py", *arguments])
    with pytest.raises(SystemExit):
        make_examples.main()
    assert "name a file with --output" in capsys.readouterr().err


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make_examples.py", "--data", str(tmp_path), "--output", str(tmp_path / "p.md")])
    with pytest.raises(SystemExit, match="is a folder without files"):
        make_examples.main()
