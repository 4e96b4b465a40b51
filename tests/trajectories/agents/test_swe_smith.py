from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.agents import swe_smith
from srl.trajectories.agents.actions import render_call, split_calls
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory

LS = "<function=bash>\n<parameter=command>ls</parameter>\n</function>"
SUBMIT = "<function=submit>\n</function>"


def parse(value: dict[str, Any], settings: ReadSettings | None = None) -> Trajectory:
    assert swe_smith.matches(value)
    row = Row(value=value, source=Source(file="ft_xml.jsonl", row=2), line=3)
    [found] = swe_smith.parse(row, settings or ReadSettings())
    assert isinstance(found, Trajectory)
    return found


def chat(*texts: str) -> list[dict[str, Any]]:
    """The assistant and its environment in turns, after the task."""
    roles = ("assistant", "user") * len(texts)
    return [
        {"role": "system", "content": "Functions: <function=name>"},
        {"role": "user", "content": "Fix it.\n<pr_description>\nThe clock is slow.\n</pr_description>\nThen stop."},
        *({"role": role, "content": text} for role, text in zip(roles, texts, strict=False)),
    ]


def test_a_row() -> None:
    edit = "<function=str_replace_editor>\n<parameter=command>create</parameter>\n<parameter=path>/a.py</parameter>\n"
    edit += "<parameter=file_text>\ndef tick():\n    pass\n\n</parameter>\n</function>"
    answer = "EXECUTION RESULT of [str_replace_editor]:\nFile created.\n"
    trajectory = parse({"messages": chat(f"Look.\n\n{LS}", "OBSERVATION:\na.py", edit, answer, SUBMIT)})
    written = "<function=str_replace_editor>\n<parameter=command>\ncreate\n</parameter>\n<parameter=path>\n/a.py\n"
    written += "</parameter>\n<parameter=file_text>\ndef tick():\n    pass\n\n</parameter>\n</function>"
    assert [(step.text, step.thought, step.observation) for step in trajectory.steps] == [
        ("ls", "Look.", "a.py"),
        (written, "", "File created."),
        (SUBMIT, "", ""),
    ]
    assert (trajectory.trajectory_id, trajectory.problem) == ("ft_xml-2", "The clock is slow.")
    assert (trajectory.format, trajectory.is_right, trajectory.notes) == ("swe-smith", None, {})


def test_a_published_row_holds_its_messages_as_text_and_says_what_became_of_it() -> None:
    messages = json.dumps(chat(LS, "Observation: a.py", SUBMIT))
    row = {"messages": messages, "instance_id": "clock", "traj_id": "clock.x1", "resolved": True, "patch": "diff"}
    trajectory = parse(row)
    assert (trajectory.trajectory_id, trajectory.is_right, trajectory.steps[0].observation) == (
        "clock.x1",
        True,
        "a.py",
    )
    assert parse({**row, "traj_id": None}).trajectory_id == "clock"
    with pytest.raises(RowError) as caught:
        parse({**row, "resolved": False}, ReadSettings(only_right=True))
    assert caught.value.reason == DropReason.MARKED_WRONG
    with pytest.raises(RowError) as caught:
        parse({**row, "messages": messages[:-5]})
    assert caught.value.reason == DropReason.BAD_JSON


def test_commands_in_fences() -> None:
    messages = chat("Look.\n\n```\nls -a\n```", "OBSERVATION:\na.py", "Done.\n\n```\nsubmit\n```")
    trajectory = parse({"messages": messages})
    assert parse({"messages": json.dumps(messages[1:])}) == trajectory  # without the word "function"
    assert [(step.text, step.thought) for step in trajectory.steps] == [("ls -a", "Look."), ("submit", "Done.")]
    assert trajectory.notes == {}


def test_several_calls_in_a_message_are_parallel_and_none_is_no_action() -> None:
    texts = [f"{LS}\n{LS}\nBoth.", "OBSERVATION:\na\na", "I wonder.", "Go on.", "Exit due to cost limit", "", SUBMIT]
    trajectory = parse({"messages": chat(*texts)})
    assert [(step.text, step.thought) for step in trajectory.steps] == [("ls\n\nls", "Both."), (SUBMIT, "")]
    assert trajectory.notes == {"parallel_calls": 1, "empty_actions": 1, "harness_turns": 1}


def test_what_the_environment_refused_is_left_out() -> None:
    refusal = "Your action could not be parsed properly: Command 'lss' not found in list of available commands."
    trajectory = parse({"messages": chat(LS, "OBSERVATION:\na", LS.replace("ls", "lss"), refusal, SUBMIT)})
    assert ([step.text for step in trajectory.steps], trajectory.notes) == (["ls", SUBMIT], {"format_errors": 1})


@pytest.mark.parametrize(
    ("text", "prose", "calls"),
    [
        (LS, "", [("bash", {"command": "ls"})]),
        (f"{LS} and {LS}", " and ", [("bash", {"command": "ls"})] * 2),
        (LS.removesuffix("\n</function>"), "", [("bash", {"command": "ls"})]),
        (
            "<function=bash><parameter=command>echo '</parameter>' > a</parameter></function>",
            "",
            [("bash", {"command": "echo '</parameter>' > a"})],
        ),
        (
            "<function=bash>\n<parameter=command>\n\n ls \n\n</parameter>\n</function>",
            "",
            [("bash", {"command": "\n ls \n"})],
        ),
        ("<function=bash>\n<parameter=command>ls", "<function=bash>\n<parameter=command>ls", []),
        (f"With <function=bash> I {LS}", "With <function=bash> I ", [("bash", {"command": "ls"})]),
        ("<function=note>\nby hand\n</function>", "", [("note", "by hand")]),
        ("<function=submit>", "", [("submit", {})]),
        ("<function=bash>\n<parameter=command>ls</parameter>\n</function", "", [("bash", {"command": "ls"})]),
        (
            "<function=a>\n<parameter=b>1</parameter>\n<parameter=b>2</parameter>\n</function>",
            "",
            [("a", "<parameter=b>1</parameter>\n<parameter=b>2</parameter>")],
        ),
        ("no call", "no call", []),
        ("", "", []),
    ],
)
def test_calls_in_a_text(text: str, prose: str, calls: list[Any]) -> None:
    assert split_calls(text) == (prose, calls)


words = st.text(st.sampled_from("ab <>/=\n\t"), max_size=20).map(lambda text: f"<{text}>")


@given(
    name=st.sampled_from(["edit", "str_replace_editor", "browser.open"]),
    arguments=st.dictionaries(st.sampled_from(["path", "old_str", "new_str"]), words, max_size=3),
    prose=st.sampled_from(["", "Let me see.\n\n"]),
)
def test_what_was_written_is_read(name: str, arguments: dict[str, str], prose: str) -> None:
    assert split_calls(prose + render_call(name, arguments)) == (prose, [(name, arguments)])


@given(st.lists(st.sampled_from([LS, "<function=a>", "<parameter=b>", "</parameter>", "</function>", "\n", "x"])))
def test_nothing_of_a_text_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    prose, calls = split_calls(text)
    kept = prose + "".join(name + json.dumps(arguments) for name, arguments in calls)
    assert text.count("x") == kept.count("x")


def test_openings_that_never_close() -> None:
    # Looking for the end from each of them takes minutes, which the suite's time limit would end.
    assert split_calls("<function=a><parameter=b>" * 100_000 + "x</parameter>x")[1] == []


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": None},
        {"messages": [None, 3, {"role": "assistant", "content": 3}]},
        {"messages": [{"role": "user", "content": LS}, {"role": "assistant", "content": "Call <function=bash> then."}]},
        {"messages": [{"role": "user", "content": "Code?"}, {"role": "assistant", "content": "```\nls\n```"}]},
        {"messages": '[{"role": "assistant", "tool_calls": [{"function": {}}], "content": "<function=a>"}]'},
        {"messages": "OBSERVATION: ```"},
    ],
)
def test_other_rows_do_not_match(value: dict[str, Any]) -> None:
    assert not swe_smith.matches(value)


def test_real_rows(shared_data: Callable[[str], Path]) -> None:
    lines = shared_data("swe/swesmith/ft_xml.jsonl").read_text(encoding="utf-8").splitlines()
    values = [json.loads(line) for line in lines]
    trajectories = [parse(value) for value in values]
    assert [(item.trajectory_id, len(item.steps), item.notes) for item in trajectories] == [
        ("getmoto__moto.694ce1f4.pr_7331", 44, {}),
        ("pydantic__pydantic.acb0f10f.pr_8316", 22, {}),
    ]
    for value, trajectory in zip(values, trajectories, strict=True):
        said = [message["content"] for message in value["messages"] if message["role"] == "assistant"]
        for text, step in zip(said, trajectory.steps, strict=True):
            assert text.count("<parameter=") == step.text.count("<parameter=") or "<function=bash>" in text
            assert "<function=" not in step.thought
            assert step.text.startswith("<function=") != ("<function=bash>" in text)
        assert not any(step.observation.lower().startswith("observation:") for step in trajectory.steps)
        assert [step.text for step in trajectory.steps].count(SUBMIT) == 2
        assert trajectory.problem in value["messages"][1]["content"]
