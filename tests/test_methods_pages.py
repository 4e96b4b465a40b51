"""The pages on methods: their settings load, their recipes, settings and metrics exist, the index has them all."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from srl.config import RunConfig, StageConfig
from srl.errors import ConfigError
from srl.metrics import DEFINITIONS
from srl.recipe import config_from_dict

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "methods"
INDEX = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {INDEX})
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in [*PAGES, INDEX]}
BLOCKS = [
    (name, number, block)
    for name, text in TEXTS.items()
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
]
TABLES = {
    name: {field.name for field in fields(table)}
    for name, table in {**get_type_hints(RunConfig), **get_type_hints(StageConfig)}.items()
    if is_dataclass(table)
}
"""The settings of each table of a run or a stage."""


def test_there_is_a_page_for_each_method() -> None:
    expected = {"losses", "pipelines", "pivot", "r3", "rlvr", "sft", "srl", "srl-plus"}
    assert {page.stem for page in PAGES} >= expected
    for page in PAGES:
        assert len(TEXTS[page.name].splitlines()) <= 160, f"{page.name} is too long to be read"


@pytest.mark.parametrize(("name", "number", "block"), BLOCKS, ids=lambda value: str(value)[:12])
def test_every_toml_block_is_settings_that_load(name: str, number: int, block: str) -> None:
    load_block(block, name=f"{name}, block {number}")


def load_block(block: str, *, name: str) -> None:
    """Validate a block as a recipe, with what a reader would have in it already."""
    raw = tomllib.loads(block)
    assert raw, f"{name} is empty"
    stages = raw.setdefault("stages", {"srl": {}})
    for stage in stages.values():
        kind = stage.setdefault("kind", "rlvr" if "starts" in stage.get("data", {}) else "srl")
        stage.setdefault("data", {}).setdefault("train", "data/steps.jsonl")
        assert kind in ("srl", "rlvr", "sft")
    config_from_dict({"run_dir": "runs/x", "model": {"path": "m"}} | raw, name=name)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("[stages.srl.sampling]\ndynamics = false\n", "unknown key"),
        ('[stages.srl.data]\nstarts = "staged"\n[stages.srl]\nkind = "srl"\n', "has no effect in an srl stage"),
    ],
)
def test_a_block_with_a_wrong_setting_is_found(block: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_block(block, name="page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_has_settings_and_names_a_recipe_that_exists(page: Path) -> None:
    assert any(name == page.name for name, _, _ in BLOCKS), f"{page.name} shows no settings"
    recipes = re.findall(r"recipes/[\w/.-]+\.toml", TEXTS[page.name])
    assert recipes, f"{page.name} names no recipe"
    for recipe in recipes:
        assert (ROOT / recipe).exists(), f"{page.name}: {recipe} does not exist"


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_metric_and_setting_in_a_page_exists(name: str) -> None:
    groups = {key.split("/")[0] for key in DEFINITIONS if "/" in key}
    for code in re.findall(r"`([^`\n]+)`", TEXTS[name]):
        metric = re.fullmatch(r"(\w+)/(\w+)", code)
        if metric and metric[1] in groups:
            assert code in DEFINITIONS, f"{name}: no metric {code}"
        setting = re.match(r"(\w+)\.(\w+)(?: = .*)?$", code)
        if setting and setting[1] in TABLES and setting[2] not in ("py", "md", "toml"):
            assert setting[2] in TABLES[setting[1]], f"{name}: no setting {code}"


def test_the_index_has_every_page_and_every_recipe() -> None:
    links = set(re.findall(r"\]\(([^)\s#]+)", TEXTS[INDEX.name]))
    assert {page.name for page in PAGES} <= links
    listed = {(FOLDER / link).resolve() for link in links if link.endswith(".toml")}
    shipped = {*(ROOT / "recipes").glob("*-[37]b-*.toml"), *(ROOT / "recipes" / "small").glob("*.toml")}
    assert {path.name for path in shipped - listed} == set()
    assert {path.name for path in listed - shipped} == set()
