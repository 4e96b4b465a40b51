"""The house keeps its shape: the pure core runs without torch, imports point one way, files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "srl"
IMPURE = {
    "packing.attention", "packing.flex", "packing.head", "logprobs", "model_support",
    "engines.decoding", "engines.kv_store", "engines.plain_generation", "engines.sampling", "engines.stops",
    "engines.transformers", "policy", "loss", "update", "checkpoint", "collect", "selection", "trainer",
    "token_lengths", "stage_data", "sft.tokens", "sft.rows", "sft.progress", "sft.train", "stages", "dry_run",
    "rewards.matching",  # compiled by numba; what compares texts imports it when it compares
    "tasks.tiny_model", "tasks.pretraining", "tasks.shell.base", "quickstart.run", "quickstart.sft",
    "quickstart.warm_up",
    "study.one_run",
}  # fmt: skip
ORDER = [
    "errors", "whole_file", "histogram", "types", "seeds", "sandbox", "parsing", "prompts", "context", "chat_api",
    "reward_config", "compute_config", "data_config", "training_config", "config", "recipe", "trajectories",
    "overlap", "examples", "decomposition", "example_store", "training_examples", "taught_examples", "rewards",
    "rewriting", "packing", "logprobs", "model_support", "engines", "outcome_gate", "completion_rewards",
    "rollouts", "scoring", "advantage", "dynamic_sampling", "example_stream", "interleaved_stream", "curriculum",
    "own_steps", "collect", "signals", "metrics", "run_dir", "selection", "display", "evaluation", "validation",
    "stage", "policy", "loss", "micro_batches", "update", "checkpoint", "trainer", "token_lengths", "stage_data",
    "sft", "stages", "dry_run", "inspection", "saved_run", "diagnosis", "report", "tasks", "quickstart", "study",
    "cli",
]  # fmt: skip
ALLOWED_BACKWARD = {
    ("engines", "policy"),  # the transformers engine loads models like the trainer does
}


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        yield "" if name == "__init__" else name, path


def imports_of(path, *, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


PURE = [name for name, _ in modules() if name not in IMPURE]


def test_the_pure_core_imports_with_torch_and_transformers_blocked():
    blocked = [
        "torch", "transformers", "accelerate", "datasets", "trl", "math_verify", "numba", "rapidfuzz", "sacrebleu",
        "tree_sitter", "sentence_transformers", "openai",
    ]  # fmt: skip
    code = (
        "import sys, importlib\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"for name in {[('srl.' + name).rstrip('.') for name in PURE]!r}: importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_list_of_impure_modules_is_no_longer_than_it_must_be():
    """A module that imports no torch (and is not compiled when it is imported) belongs to the pure core."""
    heavy = ("torch", "transformers", "accelerate", "safetensors", "tokenizers", "numba")
    paths = dict(modules())
    for name in IMPURE & paths.keys():
        direct = any(module.split(".")[0] in heavy for module in imports_of(paths[name]))
        through = any(module.removeprefix("srl.") in IMPURE for module in imports_of(paths[name]))
        assert direct or through, name


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down_the_data_flow(name, path):
    own = name.split(".")[0]
    if not own:
        return
    assert own in ORDER, f"{own} has no place in ORDER yet"
    for module in imports_of(path, top_level_only=True):
        if not module.startswith("srl."):
            continue
        other = module.split(".")[1]
        if other != own and (own, other) not in ALLOWED_BACKWARD:
            assert ORDER.index(other) < ORDER.index(own), f"srl.{name} imports {module}, which comes later"


def test_files_and_functions_stay_small():
    for name, path in modules():
        text = path.read_text()
        assert len(text.splitlines()) <= 300, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{name}.{node.name}"


def test_nothing_unsafe_is_called():
    """No pickle, no eval, no code from the Hub (promise 8)."""
    for name, path in modules():
        text = path.read_text()
        assert "trust_remote_code=True" not in text, name
        for module in imports_of(path):
            assert module.split(".")[0] not in {"pickle", "dill", "joblib", "marshal", "shelve"}, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "torch.load", "os.system"}, f"{name}: {called}"


def test_help_is_immediate_and_imports_no_torch():
    code = "import sys; sys.argv = ['srl', '--help']; from srl.cli import main; main(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("False")
    assert "srl quickstart" in result.stdout
