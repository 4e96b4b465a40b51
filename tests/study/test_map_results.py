"""Who wins a cell."""

from made_rows import make_row, make_rows, make_study

from srl.study.config import MapConfig
from srl.study.map import Cell
from srl.study.map_results import draw_map, judge_cell, write_map

CELL = Cell(careless=0.9, num_train=4)


def study_of(tmp_path):
    return make_study(tmp_path, map=MapConfig(careless=(0.9, 0.5), num_train=(4, 8)))


def test_the_highest_rate_wins_and_a_clear_lead_is_said(tmp_path):
    found = judge_cell(study_of(tmp_path), CELL, make_rows(), "whole/greedy")
    assert (found.winner, found.is_clear, found.is_gain) == ("srl", True, True)
    best = {f"rlvr_{seed}": make_row("rlvr", seed, rate=0.95) for seed in (0, 1, 2)}
    found = judge_cell(study_of(tmp_path), CELL, make_rows(**best), "whole/greedy")
    assert (list(found.rates), found.is_clear) == (["rlvr", "srl"], True)
    assert found.lead.mean > 0
    close = {f"rlvr_{seed}": make_row("rlvr", seed, rate=0.69) for seed in (0, 1, 2)}
    found = judge_cell(study_of(tmp_path), CELL, make_rows(**close), "whole/greedy")
    assert (found.winner, found.is_clear, found.is_gain) == ("srl", False, True)


def test_nobody_wins_who_is_no_better_than_the_base(tmp_path):
    weak = {f"{method}_{seed}": make_row(method, seed, rate=0.1) for method in ("srl", "rlvr") for seed in (0, 1, 2)}
    study = study_of(tmp_path)
    found = judge_cell(study, CELL, make_rows(**weak), "whole/greedy")
    assert not found.is_gain
    assert "none beats the base" in draw_map(study, [found])


def test_a_cell_without_runs_has_no_winner(tmp_path):
    found = judge_cell(study_of(tmp_path), CELL, {}, "whole/greedy")
    assert (found.winner, found.base, found.lead) == ("", None, None)
    assert "not run yet" in draw_map(study_of(tmp_path), [found])


def test_failed_runs_do_not_compete(tmp_path):
    failed = {f"srl_{seed}": make_row("srl", seed, status="failed") for seed in (0, 1, 2)}
    found = judge_cell(study_of(tmp_path), CELL, make_rows(**failed), "whole/greedy")
    assert list(found.rates) == ["rlvr"]


def test_the_files_of_a_map(tmp_path):
    study = study_of(tmp_path / "map")
    names = [f"careless-{careless}-train-{number}" for careless in (0.9, 0.5) for number in (4, 8)]
    rows = {name: make_rows() if "0.9" in name else {} for name in names}
    paths = write_map(study, {}, rows, {name: ["a note"] for name in names[:1]}, None)
    text, page = paths[1].read_text(), paths[2].read_text()
    base = judge_cell(study, CELL, make_rows(), "whole/greedy").base
    assert f"| {100 * base.mean:.0f} % (careless 0.9) | **SRL" in text
    assert "| careless 0.5 | – | – |" in text
    assert "careless-0.9-train-4: a note" in text
    assert 'class="heat"' in page
