"""What is refused to be compared, and how it is allowed."""

from dataclasses import replace

import pytest
from made_rows import SETTINGS, make_row, make_rows, make_study

from srl.errors import ConfigError, RunDirError
from srl.study.compare import check_budgets, check_settings
from srl.study.rows import read_rows, row_path, setting_differences, write_row


def expected_of(rows, **changes):
    return {key: SETTINGS | (changes if key.method == "srl" else {}) for key in rows}


def test_equal_settings_and_budgets_need_no_word(tmp_path):
    rows, study = make_rows(), make_study(tmp_path)
    assert check_settings(study, rows, expected_of(rows), ()) == []
    assert check_budgets(study, rows, ()) == []


def test_a_budget_beyond_the_tolerance_is_refused_and_can_be_allowed(tmp_path):
    rows, study = make_rows(srl_1=make_row("srl", 1, rollouts=111)), make_study(tmp_path)
    with pytest.raises(ConfigError, match=r"srl-1 spent 111 rollouts.*allow_different = \[\"budget\"\]"):
        check_budgets(study, rows, ("data",))
    (note,) = check_budgets(study, rows, ("budget",))
    assert "srl-1 spent 111 rollouts; the budget is 100 rollouts" in note
    assert check_budgets(study, make_rows(srl_1=make_row("srl", 1, rollouts=110)), ()) == []


def test_a_run_that_found_no_signal_may_have_spent_less(tmp_path):
    rows = make_rows(rlvr_0=make_row("rlvr", 0, status="no_signal", rollouts=3))
    assert check_budgets(make_study(tmp_path), rows, ()) == []


@pytest.mark.parametrize(
    ("kind", "value"), [("data", {"train": "d1"}), ("base", "b1"), ("budget", {"unit": "seconds"})]
)
def test_other_data_base_and_budget_are_refused_by_name_and_can_be_allowed(tmp_path, kind, value):
    rows, study = make_rows(), make_study(tmp_path)
    expected = expected_of(rows, **{kind: value})
    with pytest.raises(ConfigError) as refused:
        check_settings(study, rows, expected, ())
    assert f"srl-0 was made with another {kind}: {kind}" in str(refused.value)
    assert "--again srl" in str(refused.value)
    assert "--allow-different" in str(refused.value)
    assert "rlvr-0" not in str(refused.value)  # what is unaffected stays valid
    notes = check_settings(study, rows, expected, (kind,))
    assert len(notes) == 3


def test_another_recipe_is_never_allowed(tmp_path):
    rows, study = make_rows(), make_study(tmp_path)
    with pytest.raises(ConfigError) as refused:
        check_settings(study, rows, expected_of(rows, evaluation={"num_samples": 4}), ("budget", "data", "base"))
    assert "evaluation.num_samples: 1 -> 4" in str(refused.value)
    assert "--allow-different" not in str(refused.value)


def test_a_failed_row_holds_nothing_that_could_differ(tmp_path):
    rows = make_rows(srl_0=replace(make_row("srl", 0, status="failed"), settings={}))
    assert check_settings(make_study(tmp_path), rows, expected_of(rows), ()) == []


def test_rows_are_read_as_they_were_written(tmp_path):
    for row in make_rows().values():
        write_row(tmp_path, row)
    assert read_rows(tmp_path) == make_rows()
    row_path(tmp_path, make_row("srl").key).write_text('{"method": "srl"}')
    with pytest.raises(RunDirError, match=r"srl-0.json is no row"):
        read_rows(tmp_path)


def test_differences_are_sorted_by_kind():
    other = SETTINGS | {"base": "b1", "data": {"train": "d0", "validation": "v"}}
    assert setting_differences(SETTINGS, other) == {
        "base": ["base: 'b0' -> 'b1'"],
        "data": ["data.validation: None -> 'v'"],
    }
