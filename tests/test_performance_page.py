"""docs/performance.md shows the figures of the benchmarks and no others."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUMMARIES = {
    "update": {"math_vs_trl", "agent_vs_trl", "agent_peak_memory_vs_trl", "math_vs_plain", "agent_vs_plain",
               "agent_peak_memory_vs_plain"},
    "rollout": {"vs_generate"},
    "end_to_end": {"vs_trl"},
}  # fmt: skip


def load_make_performance():
    spec = importlib.util.spec_from_file_location("make_performance", ROOT / "docs" / "make_performance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_performance"] = module
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_benchmarks():
    make_performance = load_make_performance()
    assert make_performance.make_page() == make_performance.PAGE.read_text("utf-8"), "run: docs/make_performance.py"


def test_every_figure_says_where_it_comes_from():
    for name in load_make_performance().PARTS:
        figures = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))
        about = figures["environment"]
        assert about["git"]["commit"]
        assert not about["git"]["dirty"], name
        assert about["command"].startswith(f"{name}.py ")
        assert SUMMARIES.get(name, set()) <= set(figures["summary"])
        assert all(isinstance(value, int | float) for value in figures["summary"].values())
