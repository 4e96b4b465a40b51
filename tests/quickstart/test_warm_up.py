"""The tiny model for real step examples: the path of recipes/amc-aime-tiny.toml, with less of everything."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from srl.decomposition.run import decompose
from srl.metrics import Metrics
from srl.quickstart.warm_up import make_tiny_model
from srl.recipe import load_recipe
from srl.stages import run_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "amc-aime-tiny.toml"


@pytest.mark.slow
def test_real_solutions_go_the_whole_way(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Real LaTeX from the file to updates whose groups differ by more than their format."""
    source = tmp_path / "solutions.jsonl"
    lines = shared_data("math/amc_aime_solutions.jsonl").read_text("utf-8").splitlines(keepends=True)
    source.write_text("".join(lines[:150]), "utf-8")
    steps, model = tmp_path / "steps.jsonl", tmp_path / "model"
    assert decompose(str(source), steps).num_examples > 300
    make_tiny_model(str(steps), output=model, vocab_size=600, hidden_size=64, num_updates=60)
    recipe = load_recipe(RECIPE)
    stage = recipe.stages["srl"]
    small = replace(
        stage,
        data=replace(stage.data, train=str(steps)),
        sampling=replace(stage.sampling, groups_per_update=2),
        schedule=replace(stage.schedule, num_updates=2, validate_every=2, num_validation_examples=2),
    )
    config = replace(
        recipe, run_dir=str(tmp_path / "run"), model=replace(recipe.model, path=str(model)), stages={"srl": small}
    )
    lines_seen: list[Metrics] = []
    folder = run_recipe(config, on_metrics=lines_seen.append)
    assert (folder / "model.safetensors").exists()
    updates = [line for line in lines_seen if "loss/policy" in line]
    assert [line["update"] for line in updates] == [1, 2]
    assert any(float(line["rollout/format_error_rate"]) + float(line["rollout/truncated_rate"]) < 1 for line in updates)
