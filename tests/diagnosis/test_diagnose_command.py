"""``srl diagnose``: fits into 80 columns, shows nothing that a terminal would act on, and never fails on a run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.diagnosis.command import diagnose_command
from srl.errors import ConfigError, DataError, RunDirError

HOSTILE = (
    "[bold red]x[/bold red] [/] [link=http://x]y[/link] <b>z</b> \x1b[31m\x1b]0;t\x07 \u202e \ud800 a\rb\x00 "
    + "w" * 100
)


def printed(run_dir: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    diagnose_command(run_dir, **options)
    return capsys.readouterr().out


def test_everything_fits_into_80_columns(new_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(new_run(reward={"outcome": "gate", "autojunk": True}), capsys)
    assert max(map(len, text.splitlines())) <= 80
    for expected in (
        "stage srl, 40 updates",
        "stage rlvr, 20 updates",
        "Saved rollouts: 1,600 in 160 groups of all 40 updates",
        "warning, update 3: 40% of the actions are copies.",
        "kept by format alone",
        "near-copies of an earlier step",
        "several steps at once",
        "equal to another of its group",
        "monologue, update 1 to 40:",
        "reward by the length of the action",
        "autojunk: by characters",
        "false negatives",
        "similarity against the final answer",
        "deadline",
        "repeats an earlier step",
        "holds the next step, too",
    ):
        assert expected in text, expected
    assert "what is missing" not in text


def test_the_file_holds_all_that_was_found(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(run_dir, capsys, json=tmp_path / "found.json", examples=0)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [stage["name"] for stage in found["stages"]] == ["srl", "rlvr"]
    assert found["stages"][0]["examples"] == []
    assert found["notes"] == []
    (copies,) = [row for row in found["stages"][0]["signals"] if row["metric"] == "signals/context_copy_rate"]
    assert f"{copies['mean']:.1%}" in text
    assert f"{copies['saved']['value']:.1%}" in text
    assert "action:" not in text


def test_hostile_texts_are_shown_and_not_acted_on(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = {"stage", "status", "finish_reason", "role", "kind"}

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return f"{HOSTILE} {value}" if isinstance(value, str) and key not in keep else value

    for path in [*(run_dir / "rollouts").iterdir(), run_dir / "warnings.jsonl"]:
        lines = [spoil(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = printed(run_dir, capsys, json=tmp_path / "found.json")
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    shown = " ".join(text.split())
    assert shown.count("[bold red]x[/bold red] [/] [link=http://x]y[/link] <b>z</b> \\x1b[31m\\x1b]0;t\\x07") >= 5
    assert "\\u202e \\ud800 a\\rb\\x00" in shown
    assert HOSTILE in json.loads((tmp_path / "found.json").read_text())["stages"][0]["examples"][0]["action"]


@pytest.mark.parametrize("remove", ["config.json", "environment.json", "metrics.jsonl", "rollouts", "warnings.jsonl"])
def test_incomplete_runs(run_dir: Path, remove: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_dir / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = printed(run_dir, capsys)
    assert "stage srl" in text
    assert ("what is missing" in text) == (remove != "warnings.jsonl")


def test_runs_that_hardly_began(new_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = new_run(num_updates={"srl": 1})
    with (path / "warnings.jsonl").open("a") as file:
        file.write('{"stage": "srl", "upd')  # killed while it was written
    text = printed(path, capsys)
    assert "Stage rlvr has no updates yet." in text
    assert "The last line of warnings.jsonl is incomplete" in text
    for name in ("metrics.jsonl", "warnings.jsonl", "rollouts/srl-00001.jsonl"):
        (path / name).write_text("")
    assert "stage srl, 0 updates" in printed(path, capsys)
    shutil.rmtree(path / "rollouts")
    assert "No stage has logged an update or saved a rollout yet." in printed(path, capsys)


def test_errors_say_what_to_do(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not a folder"):
        diagnose_command(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunDirError, match=r"neither config\.json nor metrics\.jsonl"):
        diagnose_command(tmp_path / "empty")
    with pytest.raises(ConfigError, match="--examples -1"):
        diagnose_command(run_dir, examples=-1)
    with pytest.raises(DataError, match="cannot write"):
        diagnose_command(run_dir, json=tmp_path / "no" / "folder.json")


def test_the_command_line(new_run: Callable[..., Path], tmp_path: Path) -> None:
    path = new_run(num_updates={"srl": 2, "rlvr": 1})
    command = [
        sys.executable,
        "-m",
        "srl.cli",
        "diagnose",
        str(path),
        "--json",
        str(tmp_path / "x.json"),
        "--examples",
        "1",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "stage rlvr, 1 update\n" in result.stdout
    assert len(json.loads((tmp_path / "x.json").read_text())["stages"]) == 2
    failed = subprocess.run([*command[:4], str(tmp_path)], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "not a run folder" in " ".join(failed.stderr.split())
