"""Warnings: each for its own reason, once, and the same after a resume."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_signal_measures import NEXT, PREVIOUS, STEPS, TARGET, group, rollout

from srl.dynamic_sampling import CollectedGroups, is_kept, is_kept_by_format_only
from srl.metrics import DEFINITIONS, sampling_metrics
from srl.run_dir import RunDir
from srl.signals.measures import signal_metrics
from srl.signals.watch import _KEYS, MIN_ROLLOUTS, MUCH_WORSE, RULES, Watch
from srl.types import ParseStatus, Rollout, RolloutGroup, UngradedRollout

CALM: dict[str, Any] = {
    "rollout/num_rollouts": MIN_ROLLOUTS,
    "rollout/monologue_characters": 100.0,
    "rollout/truncated_rate": 0.0,
    "reward/mean": 0.5,
    "reward/ungraded_rate": 0.0,
    "reward/error_rate": 0.0,
    "sampling/kept_rate": 0.8,
    "sampling/kept_by_format_only_rate": 0.0,
    "signals/context_copy_rate": 0.0,
    "signals/several_steps_rate": 0.0,
    "signals/duplicate_rate": 0.1,
    "signals/reward_length_correlation": 0.0,
    "signals/length_ratio": 1.0,
    "signals/autojunk_rate": 0.0,
}
TROUBLES: dict[str, dict[str, float]] = {
    "format_only": {"sampling/kept_by_format_only_rate": 0.6},
    "ungraded": {"reward/ungraded_rate": 0.03, "reward/error_rate": 0.03},
    "context_copies": {"signals/context_copy_rate": 0.4},
    "several_steps": {"signals/several_steps_rate": 0.4},
    "duplicates": {"signals/duplicate_rate": 0.8, "sampling/kept_rate": 0.4},
    "shorter_pays": {"signals/reward_length_correlation": -0.6, "signals/length_ratio": 0.5},
    "longer_pays": {"signals/reward_length_correlation": 0.6, "signals/length_ratio": 2.0},
    "autojunk": {"signals/autojunk_rate": 0.2},
    "truncated": {"rollout/truncated_rate": 0.3},
    "monologue_collapse": {"rollout/monologue_characters": 40.0},
    "all_solved": {"reward/mean": 0.97, "sampling/kept_rate": 0.2},
}


def lines(*changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for update, change in enumerate(changes, start=1):
        yield CALM | {"stage": "srl", "update": update} | change


def codes(watch: Watch, *changes: dict[str, Any]) -> list[list[str]]:
    return [[warning.code for warning in watch.look(line)] for line in lines(*changes)]


def test_the_table_names_every_rule_and_every_metric_is_defined() -> None:
    assert [rule.code for rule in RULES] == list(TROUBLES)
    assert _KEYS == CALM.keys() <= DEFINITIONS.keys()


@pytest.mark.parametrize("code", TROUBLES)
def test_each_trouble_raises_its_own_warning_once(code: str) -> None:
    watch = Watch("srl")
    assert codes(watch, *[{}] * 6) == [[]] * 6
    found = codes(watch, *[TROUBLES[code]] * 6)
    assert [warning for update in found for warning in update] == [code]


def test_the_message_has_numbers_and_what_to_do() -> None:
    watch = Watch("srl")
    *early, (warning,) = [watch.look(line) for line in lines(*[{"signals/context_copy_rate": 0.456}] * 3)]
    assert early == [[], []]
    assert (warning.stage, warning.update, warning.severity) == ("srl", 3, pytest.approx(0.456))
    assert warning.message.startswith("46% of the actions nearly repeat an earlier step")
    for rule in RULES:
        values = dict.fromkeys(_KEYS, 0.5)
        assert "{" not in rule.message.format(severity=0.5, last=values, first=values)


@pytest.mark.parametrize(
    "change",
    [
        {"signals/duplicate_rate": 0.95},  # but most groups are kept: right and wrong answers, each several times
        {"reward/mean": 0.98},  # but most groups still differ
        {"signals/reward_length_correlation": 0.9, "signals/length_ratio": 0.5},  # leads towards the target
        {"signals/reward_length_correlation": -0.9, "signals/length_ratio": 2.0},
        {"signals/context_copy_rate": 0.3},  # at the threshold
        {"signals/context_copy_rate": float("nan")},
        {"rollout/num_rollouts": MIN_ROLLOUTS // 3 - 1, "signals/context_copy_rate": 1.0},  # too few to tell
    ],
)
def test_what_is_no_trouble(change: dict[str, float]) -> None:
    assert codes(Watch("srl"), *[change] * 6) == [[]] * 6


def test_one_bad_update_among_good_ones_says_nothing() -> None:
    bad = {"signals/context_copy_rate": 0.8}
    assert codes(Watch("srl"), {}, {}, bad, {}, {}, bad) == [[]] * 6


def test_again_only_when_it_is_much_worse() -> None:
    rates = [0.35, 0.4, 0.5, 0.56, 0.7, 0.76, 0.77, 0.9]
    found = codes(Watch("srl"), *[{"signals/context_copy_rate": rate, "rollout/num_rollouts": 9999} for rate in rates])
    means = [sum(rates[max(0, end - 3) : end]) / min(3, end) for end in range(1, 9)]
    given, expected = -1.0, []
    for mean in means:
        is_given = len(expected) >= 2 and mean >= given + MUCH_WORSE
        expected.append(["context_copies"] if is_given else [])
        given = mean if is_given else given
    assert found == expected
    assert sum(map(len, found)) == 2


def test_small_runs_wait_for_enough_rollouts() -> None:
    change = {"signals/context_copy_rate": 0.8, "rollout/num_rollouts": MIN_ROLLOUTS // 4}
    more = change | {"rollout/num_rollouts": MIN_ROLLOUTS // 2}
    assert codes(Watch("srl"), *[change] * 3, more, more) == [[], [], [], ["context_copies"], []]


def test_lines_without_rollouts_say_nothing() -> None:
    assert Watch("srl").look({"stage": "srl", "update": 0, "validation/reward": 0.5}) == []


def scripted(action: str, reward: float, *others: Rollout | UngradedRollout) -> list[RolloutGroup]:
    """Forty groups of eight: five rollouts that say ``action``, with something behind it, and three honest ones."""
    endings = [*" .!?;"]
    return [
        group(
            *others,
            *(rollout(action + ending, reward - index / 100) for index, ending in enumerate(endings)),
            *(rollout(f"{TARGET} {word}", 0.9 - index / 100) for index, word in enumerate(("a", "b", "c"))),
        )
        for _ in range(40)
    ]


def warned(groups: list[RolloutGroup]) -> list[str]:
    kept = [item for item in groups if is_kept(item, 0.01)]
    collected = CollectedGroups(
        kept=kept,
        rejected=[item for item in groups if not is_kept(item, 0.01)],
        left_over=[],
        num_kept_by_format_only=sum(is_kept_by_format_only(item, 0.01) for item in kept),
        reached_cap=False,
    )
    metrics = sampling_metrics(collected) | signal_metrics(collected.groups, STEPS)
    watch = Watch("srl")
    return [
        warning.code for update in (1, 2, 3) for warning in watch.look({"stage": "srl", "update": update, **metrics})
    ]


def test_a_policy_that_parrots_the_previous_step_is_told_so_and_nothing_else() -> None:
    assert warned(scripted(PREVIOUS, 0.4)) == ["context_copies"]


def test_a_policy_that_solves_several_steps_is_told_so_and_nothing_else() -> None:
    assert warned(scripted(f"{TARGET}\n\n{NEXT}", 0.6)) == ["several_steps"]


def test_an_honest_policy_is_told_nothing() -> None:
    assert warned(scripted("2. **Add** The train arrives at 8:05 according to the table", 0.7)) == []


def test_ungraded_rollouts_and_format_only_groups() -> None:
    assert warned(scripted("2. **Add** It arrives at 8:05", 0.7, rollout("x", None))) == ["ungraded"]
    only_format = [
        group(*(rollout(TARGET, 1.0) for _ in range(7)), rollout("", -1.0, ParseStatus.MISSING_THINK))
        for _ in range(40)
    ]
    assert warned(only_format) == ["format_only"]


SEVERITIES = st.lists(st.sampled_from([0.0, 0.35, 0.6, 0.9]), min_size=1, max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEVERITIES, st.integers(0, 12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_resume_loses_and_repeats_no_warning(
    tmp_path: Path, rates: list[float], checkpoint: int, killed: int, rng: random.Random
) -> None:
    """Killed after ``killed`` updates and resumed from ``checkpoint``: the files are those of a run never killed."""
    records = list(
        lines(*[{"signals/context_copy_rate": rate, "signals/several_steps_rate": 1 - rate} for rate in rates])
    )
    killed = min(killed, len(records))
    checkpoint = min(checkpoint, killed)

    def run(folder: Path, *, is_killed: bool) -> tuple[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run_dir, watch = RunDir(folder), Watch("srl")
        run_dir.log(records[0] | {"stage": "other"}, Watch("other").look(records[0]))
        for record in records[: killed if is_killed else None]:
            run_dir.log(record, watch.look(record))
        if is_killed:
            torn = rng.choice(["metrics.jsonl", "warnings.jsonl"])
            with (folder / torn).open("a") as file:
                file.write('{"stage": "srl", "upd')
            run_dir.forget_after("srl", checkpoint)
            watch = Watch("srl", *run_dir.history("srl"))
            for record in records[checkpoint:]:
                run_dir.log(record, watch.look(record))
        warnings = folder / "warnings.jsonl"
        return (folder / "metrics.jsonl").read_text(), warnings.read_text() if warnings.exists() else ""

    assert run(tmp_path / "killed", is_killed=True) == run(tmp_path / "whole", is_killed=False)


def test_a_run_without_warnings_has_no_file_of_them(tmp_path: Path) -> None:
    run_dir, watch = RunDir(tmp_path), Watch("srl")
    for record in lines({}, {}):
        run_dir.log(record, watch.look(record))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert run_dir.history("srl") == ([json.loads(json.dumps(record)) for record in lines({}, {})], [])
