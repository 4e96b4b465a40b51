"""docs/results.md and README.md show the figures of the studies and no others."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from srl.recipe import load_settings
from srl.study.config import StudyConfig

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "benchmarks" / "results").glob("study-*.json"))


def load_make_results():
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_results"] = module
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_studies():
    make_results = load_make_results()
    for page in make_results.PAGES:
        assert make_results.make_page(page) == page.read_text("utf-8"), "run: python docs/make_results.py"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_says_where_it_comes_from(path):
    """Commit, hardware and seeds; and its means are those of what it says of itself."""
    figures = json.loads(path.read_text("utf-8"))
    facts = " ".join(figures["facts"])
    assert "commit: " in facts
    assert "not recorded" not in facts
    assert "hardware: cpu" in facts or "hardware: NVIDIA" in facts
    assert "/tmp" not in path.read_text("utf-8")
    names = {load_settings(file, StudyConfig).title for file in (ROOT / "studies").glob("*.toml")}
    assert figures["title"] in names
    for found in figures.get("tables", []):
        for row in found["rows"]:
            for cell in row["cells"].values():
                assert cell["estimate"]["low"] <= cell["estimate"]["mean"] <= cell["estimate"]["high"]


def test_every_published_study_is_shown():
    text = "".join(page.read_text("utf-8") for page in load_make_results().PAGES)
    for path in STUDIES:
        assert f"<!-- {path.stem.removeprefix('study-')}." in text, path.name
