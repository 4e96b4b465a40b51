"""The shipped recipes: all load, have the paper's settings, and pass a dry run with and without a model at hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from srl.cli import train_command
from srl.config import RunConfig, StageConfig
from srl.decomposition.run import decompose
from srl.recipe import load_recipe
from srl.tasks.tiny_model import new_model, save, train_tokenizer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "recipes"
ALL = sorted(FOLDER.rglob("*.toml"))
PAPER_SIZE = sorted(path.stem for path in FOLDER.glob("*.toml") if re.search(r"-[37]b-", path.stem))
EVALUATED_ONLY = ""
"""A row whose model is published and not trained."""
TABLES = {
    "Table 1": {
        ("Qwen2.5-7B-Instruct", "24.6"): EVALUATED_ONLY,
        ("S1K-7B", "11.7"): EVALUATED_ONLY,
        ("SFT (R1 reasoning)", "16.6"): "math-7b-sft-traces",
        ("SFT (R1 outline)", "16.3"): "math-7b-sft-outline",
        ("RLVR", "24.5"): "math-7b-rlvr",
        ("SFT (outline) then RLVR", "17.4"): "math-7b-sft-rlvr",
        ("R3", "26.6"): "math-7b-r3",
        ("SRL", "27.6"): "math-7b-srl",
        ("SRL then RLVR", "28.3"): "math-7b-srl-rlvr",
    },
    "Table 2": {("without", "24.7"): "math-7b-srl-no-dynamic", ("with", "27.6"): "math-7b-srl"},
    "Table 3": {
        ("final answer, one step", "24.5"): "math-7b-rlvr",
        ("similarity, one step", "25.9"): "math-7b-one-step",
        ("similarity, step by step", "27.6"): "math-7b-srl",
    },
    "Table 4": {
        ("Qwen2.5-3B-Instruct", "16.4"): EVALUATED_ONLY,
        ("RL(VR)", "17.7"): "math-3b-rlvr",
        ("SRL then RLVR", "19.5"): "math-3b-srl-rlvr",
    },
    "Table 5": {
        ("Qwen2.5-Coder-Instruct", "5.8"): EVALUATED_ONLY,
        ("SWE-Gym-7B", "8.4"): "swe-7b-sft",  # what the recipe trains in place of that published model
        ("SRL", "14.8"): "swe-7b-srl",
    },
}
ELSEWHERE = {("Table 2", "with"), ("Table 3", "similarity, step by step")}
"""Rows that repeat the row of another table, whose recipe names that one."""
MODELS = {
    "Qwen/Qwen2.5-7B-Instruct": "-7b-",
    "Qwen/Qwen2.5-3B-Instruct": "-3b-",
    "Qwen/Qwen2.5-Coder-7B-Instruct": "swe-7b-",
}

SOLUTION = (
    "1. **Add the numbers** 2+{n}={s}\n\n2. **Double the sum** {s}*2={d}\n\n3. **Conclude** It is \\boxed{{{d}}}."
)
CALLS = [
    "<function=bash>\n<parameter=command>find . -name '*.py'</parameter>\n</function>",
    "<function=str_replace_editor>\n<parameter=command>view</parameter>\n<parameter=path>/repo/a.py</parameter>\n"
    "</function>",
    "<function=bash>\n<parameter=command>python -m pytest -q</parameter>\n</function>",
    "<function=submit>\n</function>",
]
STAND_INS = {
    "data/s1k11-steps.jsonl": "s1k11-steps.jsonl",
    "simplescaling/s1K-1.1": "s1k.jsonl",  # as it is published, thinking and all
    "data/swe-smith-steps": "swe-smith-steps",
}
NOWHERE = "nobody/has-this-model"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Expert data as the recipes' comments say it is made, and a model of random weights with a window of 32,768."""
    folder = tmp_path_factory.mktemp("files")
    solved = [(n, 2 + n, 2 * (2 + n)) for n in range(8)]
    rows = [
        {
            "id": f"t{n}",
            "problem": f"What is (2+{n})*2?",
            "answer": str(d),
            "deepseek_thinking_trajectory": f"First add, {s}. Then double, {d}.",
            "deepseek_attempt": SOLUTION.format(n=n, s=s, d=d),
        }
        for n, s, d in solved
    ]
    logs = [
        {"instance_id": f"log{n}", "messages": log(f"Fix bug {n} of the parser."), "resolved": True} for n in range(6)
    ]
    for name, records in (("s1k", rows), ("swe", logs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    decompose(str(folder / "s1k.jsonl"), folder / "s1k11-steps.jsonl")
    decompose(str(folder / "swe.jsonl"), folder / "swe-smith-steps")
    tokenizer = train_tokenizer(["Fix bug 1 of the parser."], 280)
    model = new_model(tokenizer, hidden_size=16, num_layers=1, num_heads=2, max_positions=32768)
    save(model, tokenizer, folder / "model")
    return folder


def log(task: str) -> list[dict[str, str]]:
    """A conversation in the shape of SWE-smith's: prose and one call in each turn, and what came back."""
    messages = [{"role": "system", "content": "You can call functions."}, {"role": "user", "content": task}]
    for turn, call in enumerate(CALLS):
        messages.append({"role": "assistant", "content": f"Step {turn} of {task}\n\n{call}"})
        messages.append({"role": "user", "content": f"OBSERVATION:\noutput {turn} of {task}"})
    return messages[:-1]


def overrides(config: RunConfig, files: Path) -> list[str]:
    arguments: list[str] = []
    for name, stage in config.stages.items():
        arguments += [f"--stages.{name}.data.train", str(files / STAND_INS[stage.data.train])]
        arguments += [f"--stages.{name}.data.num-validation-trajectories", "2"]
    return arguments


def dry_run(name: str, files: Path, model: str, capsys: pytest.CaptureFixture[str]) -> tuple[RunConfig, str]:
    """The recipe, and what is printed for it below the resolved run."""
    path = FOLDER / f"{name}.toml"
    config = load_recipe(path)
    train_command([str(path), "--dry-run", "--model.path", model, *overrides(config, files)])
    out = capsys.readouterr().out
    end = out.index("\n}\n") + 3
    assert list(json.loads(out[:end])["stages"]) == list(config.stages)
    return config, out[end:]


def counts(out: str, stage: str) -> tuple[int, int]:
    """Training and validation examples in the row of a stage."""
    row = re.search(rf"^│ {re.escape(stage)} +│ \w+ +│ +([\d,]+) +│ +([\d,]+) +│", out, re.MULTILINE)
    assert row, out
    return int(row[1].replace(",", "")), int(row[2].replace(",", ""))


def expected_counts(stage: StageConfig) -> tuple[int, int]:
    """Examples of the stand-ins: 8 solutions of 3 steps and 6 logs of 4 actions, two of each held out."""
    if "swe" in stage.data.train:
        return 4 * 4, 2 * 4
    each = 1
    if stage.asks_by_step:
        each = 3 if stage.kind == "rlvr" or stage.data.include_last_step else 2
    return 6 * each, 2 * each


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_a_dry_run_needs_no_model(
    name: str, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    config, out = dry_run(name, files, NOWHERE, capsys)
    assert " ".join(out.split()).count(f"the tokenizer of {NOWHERE} is not at hand") == len(config.stages)
    for stage_name, stage in config.stages.items():
        assert counts(out, stage_name) == expected_counts(stage)


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_a_dry_run_measures_prompts_with_a_model(
    name: str, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    config, out = dry_run(name, files, str(files / "model"), capsys)
    assert "unknown" not in out
    assert "not at hand" not in out
    assert "left out" not in out  # every stand-in is usable, and fits into the window beside the completion
    for stage_name, stage in config.stages.items():
        assert counts(out, stage_name) == expected_counts(stage)
        lengths = re.search(rf"^│ {re.escape(stage_name)} .*│ +([\d,]+) / ([\d,]+) +│ +([\d,]+) +│$", out, re.MULTILINE)
        assert lengths, out
        mean, longest, per_update = (int(part.replace(",", "")) for part in lengths.groups())
        assert 0 < mean <= longest < 32768
        if stage.kind != "sft":
            rollouts = stage.sampling.groups_per_update * stage.sampling.group_size
            assert per_update > rollouts * stage.sampling.max_completion_tokens


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_recipe_loads_and_writes_to_a_folder_of_its_own(path: Path) -> None:
    config = load_recipe(path)
    assert config.run_dir == f"runs/{path.stem}"
    for page in re.findall(r"docs/[\w/.-]+\.md", path.read_text("utf-8")):
        assert (ROOT / page).exists(), f"{path.name} names {page}"


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_a_paper_size_recipe_says_what_it_is_for_and_claims_nothing(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    comment = " ".join(re.match(r"(?:#.*\n)+", text)[0].replace("#", "").split())  # type: ignore[index]
    assert re.search(r"Table \d|Tables \d|beyond the paper", comment)
    assert comment.endswith("A figure reached with this recipe counts only with its report; none is claimed here.")
    for other in re.findall(r"[\w-]+\.toml", comment):
        assert (FOLDER / other).exists(), f"{name} names {other}"


def test_every_row_of_tables_1_to_5_has_its_recipe() -> None:
    for table, rows in TABLES.items():
        for (row, figure), name in rows.items():
            if name == EVALUATED_ONLY:
                continue
            assert (FOLDER / f"{name}.toml").exists(), f"{table}, {row}: no recipe {name}"
            if (table, row) not in ELSEWHERE:
                comment = (FOLDER / f"{name}.toml").read_text("utf-8").split("\n\n")[0]
                number = table.removeprefix("Table ")
                assert re.search(rf"Tables? [\d and]*{number}\b", comment), f"{name} does not name {table}"
                assert figure in comment, f"{name} does not say {figure}"


def test_the_models_are_those_of_the_tables() -> None:
    for name in PAPER_SIZE:
        model = load_recipe(FOLDER / f"{name}.toml").model
        size = "-3b-" if "-3b-" in name else "swe-7b-" if name.startswith("swe") else "-7b-"
        assert MODELS[model.path] == size
        assert (model.precision, model.gradient_checkpointing) == ("bfloat16", True)


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_the_settings_are_those_of_tables_6_to_8(name: str) -> None:
    """GRPO's batch is 128 (Table 7), SRL's 512 (Table 8); what departs from them is named here."""
    for stage in load_recipe(FOLDER / f"{name}.toml").stages.values():
        held_out = 30 if name.startswith("swe") else 60
        assert stage.data.num_validation_trajectories == held_out
        if stage.kind == "sft":
            assert (stage.sft.learning_rate, stage.sft.batch_size) == (5e-6, 64)
            assert (stage.sft.warmup_share, stage.sft.num_epochs) == (0.3, 3)
            continue
        size = 128 if stage.kind == "rlvr" or stage.interleave.is_on else 512
        sampling, optimizer = stage.sampling, stage.optimizer
        assert (sampling.group_size, sampling.groups_per_update, sampling.temperature) == (8, size, 1.0)
        assert (optimizer.learning_rate, optimizer.warmup_updates, optimizer.max_grad_norm) == (5e-7, 0, 1.0)
        assert (stage.loss.beta, stage.schedule.num_epochs) == (0.0, 30)
        assert sampling.dynamic == (name != "math-7b-srl-no-dynamic")


def test_each_recipe_is_the_method_that_it_is_named_after() -> None:
    def stages(name: str) -> list[StageConfig]:
        return list(load_recipe(FOLDER / f"{name}.toml").stages.values())

    kinds = {name: [stage.kind for stage in stages(name)] for name in PAPER_SIZE}
    for name, found in kinds.items():
        method = name.split("b-", 1)[1]
        expected = [kind for kind in ("sft", "srl", "rlvr") if kind in method.split("-")]
        assert found == (expected or ["srl" if method in ("one-step", "pivot") else "rlvr"]), name
    assert [stages(f"math-7b-sft-{what}")[0].sft.teach for what in ("outline", "traces")] == ["solution", "trace"]
    assert [stages(f"math-7b-sft-{rest}")[0].sft.teach for rest in ("rlvr", "srl-rlvr")] == ["solution", "solution"]
    assert stages("swe-7b-sft")[0].sft.teach == "steps"
    assert stages("swe-7b-sft")[0].prompt == stages("swe-7b-srl")[0].prompt == stages("swe-7b-pivot")[0].prompt
    assert stages("math-7b-r3")[0].data.starts == "mixed"
    assert stages("math-7b-one-step")[0].data.one_step
    interleave = stages("math-7b-srl-interleaved")[0].interleave
    assert interleave.first_share < interleave.last_share
    assert stages("math-7b-srl-curriculum")[0].selection.easy_share < 1
    assert stages("math-7b-srl-own-thoughts")[0].prompt.own_steps == "thoughts"
    assert stages("swe-7b-pivot")[0].selection.min_reward_std > 0
    assert stages("swe-7b-pivot")[0].reward.thresholds == (0.4, 0.8)


@pytest.mark.parametrize("name", ["dapo", "dr-grpo", "gspo", "cispo"])
def test_a_variant_of_the_loss_differs_from_rlvr_by_that_alone(name: str) -> None:
    plain = load_recipe(FOLDER / "math-7b-rlvr.toml").stages["rlvr"]
    variant = load_recipe(FOLDER / f"math-7b-{name}.toml").stages["rlvr"]
    assert variant.loss != plain.loss
    assert variant.optimizer.passes_per_batch == 2
    assert (variant.data, variant.prompt, variant.reward, variant.schedule) == (
        plain.data, plain.prompt, plain.reward, plain.schedule,
    )  # fmt: skip


def test_the_3b_recipes_are_the_7b_recipes_with_another_model() -> None:
    for name in ("rlvr", "srl-rlvr"):
        small, large = (load_recipe(FOLDER / f"math-{size}-{name}.toml") for size in ("3b", "7b"))
        assert small.stages == large.stages
