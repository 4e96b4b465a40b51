"""The settings of ``srl rewrite``: recipes, their errors, and what the documentation says about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from llm_server import LLMServer, write_rows

from srl.errors import ConfigError
from srl.recipe import load_settings
from srl.rewriting.accept import RejectReason
from srl.rewriting.command import rewrite_command
from srl.rewriting.settings import RewriteConfig


def test_a_recipe_is_overridden_by_the_command_line(tmp_path):
    source, output = write_rows(tmp_path / "in.jsonl", range(1, 6)), tmp_path / "out.jsonl"
    recipe = tmp_path / "rewrite.toml"
    texts = '[texts]\nsystem = "Be brief."\nquestion = "Problem:\\n{problem}\\n\\nSolution:\\n{solution}"\n'
    with LLMServer() as server:
        recipe.write_text(
            f'base_url = "{server.url}"\nmodel = "recipe"\nrows = "all"\ntemperature = 1.5\n'
            f"[read]\nonly_right = true\n{texts}"
        )
        rewrite_command([str(source), "-o", str(output), "--recipe", str(recipe), "--model", "line", "--limit", "1"])
    body = server.calls[0].body
    assert (body["model"], body["temperature"]) == ("line", 1.5)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert load_settings(recipe, RewriteConfig).read.only_right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 'x'", "unknown key modle"),
        ("concurrency = 'many'", "concurrency: .* (found 'many')"),
        ("concurrency = 0", "concurrency must be at least 1"),
        ("rows = 'some'", "rows: .*'uncut', 'untitled' or 'all' .found 'some'"),
        ("[texts]\nquestion = 'solve {problem}'", r"texts.question must contain \{solution\}"),
        ("[texts]\nsytem = ''", "unknown key texts.sytem"),
        ("[read]\nonly_right = 1", "read.only_right"),
        ("min_length_ratio = 3.0", "min_length_ratio must be below max_length_ratio"),
        ("max_cost = 1.0", "max_cost has no effect without price_in"),
        ("base_url = 'localhost:8000'", "base_url must be a web address"),
        ("concurrency = ", "not valid TOML"),
    ],
)
def test_a_bad_recipe_is_an_error_that_names_the_key(tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said.replace("(found", r"\(found").replace("many')", r"many'\)")):
        load_settings(path, RewriteConfig)


def test_defaults_stand_in_an_empty_recipe(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    assert load_settings(tmp_path / "empty.toml", RewriteConfig) == RewriteConfig()


def test_the_documentation_lists_every_reason_and_its_recipe_loads(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "rewriting.md").read_text("utf-8")
    checks = page.split("## What is accepted", 1)[1].split("\n\nA solution without", 1)[0]
    documented = [
        reason for row in re.findall(r"^\|.*\| (`.*`) \|$", checks, re.MULTILINE) for reason in row.split(", ")
    ]
    assert sorted(reason.strip("`") for reason in documented) == sorted(RejectReason)
    (tmp_path / "recipe.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    assert load_settings(tmp_path / "recipe.toml", RewriteConfig).max_cost == 5.0
