"""Rows -> tables, curves and files."""

import json
import re

import pytest
from made_rows import make_row, make_rows, make_study
from rich.console import Console

from srl.study.config import TableConfig
from srl.study.curves import average, make_curves
from srl.study.markdown import cell_text, marks_of, seeds_text, to_markdown
from srl.study.plan import RunKey
from srl.study.results import make_results, write_results
from srl.study.show import print_tables
from srl.study.statistics import estimate_difference, estimate_rate, holm
from srl.study.tables import make_tables, values_of


def table_of(tmp_path, rows, **changes):
    (table,) = make_tables(make_study(tmp_path, **changes), rows)
    return table, {row.method: row for row in table.rows}


def test_the_numbers_are_those_of_the_rows(tmp_path):
    rows = make_rows()
    table, found = table_of(tmp_path, rows)
    assert table.metrics == ("whole/greedy", "steps/greedy")
    assert [row.label for row in table.rows] == ["base", "SRL", "rlvr"]
    values = [
        [
            float(samples[0])
            for _, samples in sorted(rows[RunKey(method="srl", seed=seed)].outcomes["whole/greedy"].items())
        ]
        for seed in (0, 1, 2)
    ]
    assert found["srl"].cells["whole/greedy"].estimate == estimate_rate(values)
    assert found["srl"].spent is not None
    assert found["srl"].spent.seconds == 11
    assert found["base"].spent is None


def test_p_values_are_corrected_over_the_table(tmp_path):
    rows = make_rows()
    _, found = table_of(tmp_path, rows)
    places = [(method, metric) for method in ("srl", "rlvr") for metric in ("whole/greedy", "steps/greedy")]

    def of(method, metric):
        by_problem = values_of([row for key, row in sorted(rows.items()) if key.method == method], metric)
        return [list(line) for line in zip(*(by_problem[problem] for problem in sorted(by_problem)), strict=True)]

    plain = [estimate_difference(of(method, metric), of("base", metric)).p for method, metric in places]
    corrected = [found[method].cells[metric].against_base.p_corrected for method, metric in places]
    assert corrected == pytest.approx(holm(plain))
    assert found["rlvr"].cells["whole/greedy"].against_method is None  # no method is compared with itself


def test_marks_say_what_is_better(tmp_path):
    _, found = table_of(tmp_path, make_rows())
    assert marks_of(found["srl"].cells["whole/greedy"]) == "▲△"
    assert marks_of(found["rlvr"].cells["whole/greedy"]) == "▲"
    worse = {f"rlvr_{seed}": make_row("rlvr", seed, rate=0.9) for seed in (0, 1, 2)}
    _, found = table_of(tmp_path, make_rows(**worse))
    assert marks_of(found["srl"].cells["whole/greedy"]) == "▲▽"


def test_a_failed_run_is_never_a_number(tmp_path):
    failed = {f"srl_{seed}": make_row("srl", seed, status="failed") for seed in (0, 1, 2)}
    table, found = table_of(tmp_path, make_rows(**failed))
    assert cell_text(found["srl"], "whole/greedy") == "failed"
    assert found["srl"].cells == {}
    assert any("SRL: the runs of seeds 0, 1, 2 failed" in note for note in table.notes)
    some, found = table_of(tmp_path, make_rows(srl_1=failed["srl_1"]))
    assert found["srl"].cells["whole/greedy"].estimate.num_seeds == 2
    assert seeds_text(found["srl"]) == "2 of 3 (1 failed)"
    assert any("seeds 1 failed" in note for note in some.notes)


def test_a_run_without_signal_is_a_result_and_marked(tmp_path):
    rows = make_rows(rlvr_2=make_row("rlvr", 2, status="no_signal", rollouts=7))
    table, found = table_of(tmp_path, rows)
    assert found["rlvr"].cells["whole/greedy"].estimate.num_seeds == 3
    assert seeds_text(found["rlvr"]) == "3 (1 without signal)"
    assert any("rlvr: the runs of seeds 2 ended early" in note for note in table.notes)


def test_one_seed_and_missing_runs_are_said(tmp_path):
    rows = make_rows(srl_1=None, srl_2=None)
    table, found = table_of(tmp_path, rows)
    assert found["srl"].cells["whole/greedy"].estimate.num_seeds == 1
    assert any(note.startswith("one seed: the interval is over problems alone") for note in table.notes)
    assert any("SRL: 1 of 3 runs are done" in note for note in table.notes)


def test_problems_that_a_run_lacks_are_left_out_of_the_comparison(tmp_path):
    short = make_row("srl", 0)
    del short.outcomes["whole/greedy"]["p00"]
    _, found = table_of(tmp_path, make_rows(srl_0=short))
    assert found["srl"].cells["whole/greedy"].estimate.num_problems == 59
    assert found["srl"].cells["whole/greedy"].against_base.difference.num_problems == 59


def test_chosen_tables_have_their_methods_and_metrics(tmp_path):
    chosen = {"one": TableConfig(title="Only SRL", methods=("srl",), metrics=("steps/greedy",))}
    table, found = table_of(tmp_path, make_rows(), tables=chosen)
    assert (table.title, table.metrics, list(found)) == ("Only SRL", ("steps/greedy",), ["base", "srl"])
    assert found["srl"].cells["steps/greedy"].against_method is not None  # with a method that has no row here


def test_curves_are_means_over_seeds(tmp_path):
    curves = make_curves(make_study(tmp_path), make_rows())
    assert {(curve.method, curve.measure, curve.spending) for curve in curves} == {
        (method, "whole", spending) for method in ("srl", "rlvr") for spending in ("rollouts", "tokens", "seconds")
    }
    curve = next(curve for curve in curves if curve.spending == "rollouts")
    x, mean, half = curve.points[-1]
    assert (x, mean, half) == (100, pytest.approx(0.51), pytest.approx(0.01))


def test_a_curve_ends_with_its_shortest_run():
    points = average([[(0, 0.0), (10, 1.0)], [(2, 0.0), (20, 1.0)]])
    assert (points[0][0], points[-1][0]) == (2, 10)
    assert points[0][1] == pytest.approx(0.1)


def test_the_files_are_written_and_agree(tmp_path):
    results = make_results(make_study(tmp_path / "s"), make_rows(), ["budgets differ: somehow"])
    paths = write_results(results)
    value = json.loads(paths[0].read_text())
    mean = value["tables"][0]["rows"][1]["cells"]["whole/greedy"]["estimate"]["mean"]
    assert f"| SRL | {100 * mean:.1f} [" in paths[1].read_text()
    page = paths[2].read_text()
    assert f"{100 * mean:.1f} %" in page
    for text in (paths[1].read_text(), page):
        assert "budgets differ: somehow" in text
        assert "0123456789" in text
    assert not re.search(r'(src|href)="(?!#)', page)  # nothing from outside
    assert page.count("<svg") > 6


def test_the_page_escapes_what_it_is_given(tmp_path):
    study = make_study(tmp_path, title="<script>alert(1)</script>")
    results = make_results(study, make_rows(srl_0=make_row("srl", 0, status="failed")))
    page = write_results(results)[2].read_text()
    assert "<script>alert" not in page


def test_the_terminal_has_80_columns(tmp_path):
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    print_tables(make_results(make_study(tmp_path), make_rows()), console)
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "SRL" in shown
    assert "…" not in shown


def test_markdown_of_a_study_without_runs_of_a_method(tmp_path):
    rows = {key: row for key, row in make_rows().items() if key.method != "rlvr"}
    study = make_study(tmp_path)
    text = to_markdown(study, make_tables(study, rows), [], [])
    assert "| rlvr | – | – | 0 of 3 |" in text
