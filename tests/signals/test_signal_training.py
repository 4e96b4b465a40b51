"""The loop logs signals, gives warnings and keeps them through a kill, with real rollouts of a tiny policy."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import KilledError, MortalEngine, stage, tiny_policy, trainer

from srl.engines.transformers import TransformersEngine
from srl.policy import load_policy
from srl.stage import Stage
from srl.trainer import Trainer
from srl.training_config import SamplingConfig, ScheduleConfig
from srl.types import FinishReason, ParsedCompletion, ParseStatus


def parse_half(text: str, finish_reason: FinishReason) -> ParsedCompletion:
    del finish_reason
    status = ParseStatus.TRUNCATED if len(text) % 2 else ParseStatus.OK
    return ParsedCompletion(status=status, monologue="", action=text if status is ParseStatus.OK else "")


def cut_stage() -> Stage:
    """About half of the completions count as cut; saved after every second update."""
    sampling = SamplingConfig(group_size=8, groups_per_update=12, max_completion_tokens=6, min_reward_std=0.02)
    schedule = ScheduleConfig(num_updates=7, validate_every=50, save_every=2, num_epochs=50)
    made = stage(num_examples=26, sampling=sampling, schedule=schedule)
    return replace(made, scoring=replace(made.scoring, parse=parse_half))


def warnings(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "warnings.jsonl").read_text().splitlines()]


def test_warnings_of_a_run_are_given_kept_and_survive_a_kill(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="srl"):
        trainer(cut_stage(), tmp_path / "whole").train()
    given = warnings(tmp_path / "whole")
    assert [(warning["stage"], warning["code"]) for warning in given] == [("srl", "truncated")]
    assert given[0]["update"] == 3  # three updates of 96 rollouts are enough
    assert any(f"srl update 3: {given[0]['message']}" in message for message in caplog.messages)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert 0 <= lines[1]["signals/duplicate_rate"] <= 1
    saved = json.loads((tmp_path / "whole" / "rollouts" / "srl-00001.jsonl").read_text().splitlines()[0])
    assert isinstance(saved["kept_by_format_only"], bool)

    folder = tmp_path / "killed"
    with pytest.raises(KilledError):
        mortal(folder, 5).train()
    newest = sorted((folder / "checkpoints" / "srl").glob("update-?????"))[-1]
    assert newest.name == "update-00004"  # the warning was given before it, and three updates follow
    resumed = trainer(cut_stage(), folder, model=load_policy(newest)[0])
    resumed.resume()
    resumed.train()
    assert warnings(folder) == given


def mortal(folder: Path, killed_in_update: int) -> Trainer:
    model, tokenizer = tiny_policy()
    last = folder / "rollouts" / f"srl-{killed_in_update - 1:05d}.jsonl"
    engine = MortalEngine(TransformersEngine(model, tokenizer, batch_size=16), last.exists)
    return trainer(cut_stage(), folder, model=model, engine=engine)
