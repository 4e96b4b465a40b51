from srl.report.score_table import score_columns, score_rows
from srl.saved_run.records import SavedScore


def score(name: str, value: float, num_samples: int | None = 200) -> SavedScore:
    low, high = value - 0.05, value + 0.05
    return SavedScore(name=name, value=value, low=low, high=high, num_problems=200, num_samples=num_samples)


def test_models_by_scores_with_gaps() -> None:
    scores = {"base": [score("a", 0.25)], "srl": [score("b", 0.5), score("a", 0.75)], "empty": []}
    assert [column.name for column in score_columns(scores)] == ["a", "b"]
    rows = [(model, [cell.value if cell else None for cell in cells]) for model, cells in score_rows(scores)]
    assert rows == [("base", ["25.0 %", None]), ("srl", ["75.0 %", "50.0 %"]), ("empty", [None, None])]


def test_the_dashed_line_is_the_first_models_value() -> None:
    rows = score_rows({"base": [score("a", 0.25)], "srl": [score("a", 0.75)]})
    for _, (cell,) in rows:
        assert cell is not None
        assert '<line x1="44" x2="44" y1="1" y2="18" class="reference"></line>' in cell.plot


def test_counts_are_shared_or_named_by_model() -> None:
    same = {"base": [score("a", 0.25, 1600)], "srl": [score("a", 0.75, 1600)]}
    assert score_columns(same)[0].counts == "200 problems, 1,600 samples"
    different = {"base": [score("a", 0.25, None)], "srl": [score("a", 0.75)]}
    assert score_columns(different)[0].counts == "base: 200 problems; srl: 200 problems, 200 samples"
