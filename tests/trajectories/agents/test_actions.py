from __future__ import annotations

import pytest

from srl.trajectories.agents.actions import ends_run, render_call
from srl.trajectories.reasons import RowError


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("bash", {"command": "ls -la\n"}, "ls -la"),
        ("Bash", '{"command": "make", "description": "Build it", "timeout": 9000}', "make"),
        ("execute_bash", {"command": "ls", "is_input": "false", "security_risk": "LOW", "timeout": 120}, "ls"),
        ("terminal", {"command": "pwd", "workdir": None}, "pwd"),
        ("shell", {"command": ["bash", "-lc", "cat a | head"]}, "cat a | head"),
        ("shell", {"command": ["ls", "a b"]}, "ls 'a b'"),
        # Input to a running program is no command, and neither is an order to run in another folder.
        (
            "execute_bash",
            {"command": "C-c", "is_input": "true"},
            "<function=execute_bash>\n<parameter=command>\nC-c\n</parameter>\n"
            "<parameter=is_input>\ntrue\n</parameter>\n</function>",
        ),
        (
            "shell",
            {"command": ["ls"], "workdir": "/src"},
            '<function=shell>\n<parameter=command>\n["ls"]\n</parameter>\n'
            "<parameter=workdir>\n/src\n</parameter>\n</function>",
        ),
        (
            "bash",
            {"command": "ls", "restart": True},
            "<function=bash>\n<parameter=command>\nls\n</parameter>\n<parameter=restart>\ntrue\n</parameter>\n</function>",
        ),
        # A tool whose argument merely happens to be called command.
        (
            "editor",
            {"command": "view"},
            "<function=editor>\n<parameter=command>\nview\n</parameter>\n</function>",
        ),
        # Text as it is, with line breaks and quotes; everything else as JSON.
        (
            "edit",
            {"new": 'a = "é"\n\nb', "all": True, "lines": [1, -1], "by": {"k": None}},
            '<function=edit>\n<parameter=new>\na = "é"\n\nb\n</parameter>\n<parameter=all>\ntrue\n</parameter>\n'
            '<parameter=lines>\n[1, -1]\n</parameter>\n<parameter=by>\n{"k": null}\n</parameter>\n</function>',
        ),
        ("submit", "", "<function=submit>\n</function>"),
        ("submit", {}, "<function=submit>\n</function>"),
        ("apply_patch", "*** Begin Patch", "<function=apply_patch>\n*** Begin Patch\n</function>"),
        ("view", '{"path": "a', '<function=view>\n{"path": "a\n</function>'),
        ("view", "[1]", "<function=view>\n[1]\n</function>"),
    ],
)
def test_a_call_as_text(name: str, arguments: dict[str, object] | str, action: str) -> None:
    assert render_call(name, arguments) == action


def test_what_json_cannot_hold_is_an_error_of_the_row() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RowError, match="wrong_type"):
        render_call("edit", {"lines": deep})


def test_a_date_from_a_table_is_written() -> None:
    assert "<parameter=at>\n1j\n" not in render_call("edit", {"at": 1j})  # as JSON text, whatever it is
    assert '<parameter=at>\n"1j"\n' in render_call("edit", {"at": 1j})


@pytest.mark.parametrize(
    ("name", "action", "is_end"),
    [
        ("finish", "", True),
        ("Submit", "", True),
        ("bash", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt", True),
        ("bash", "ls", False),
        ("submit_form", "", False),
    ],
)
def test_what_ends_a_run(name: str, action: str, is_end: bool) -> None:
    assert ends_run(name, action) is is_end
