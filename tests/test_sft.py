"""One stage of fine-tuning: what TRL makes of the model, against the same thing written by hand."""

import json
import logging
import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tiny import tiny_policy
from tiny_models import build
from torch.nn import functional

from srl.checkpoint import final_model
from srl.completion_rewards import Scoring
from srl.compute_config import ModelConfig
from srl.config import StageConfig
from srl.data_config import DataConfig
from srl.errors import ConfigError
from srl.parsing import parse_solution
from srl.prompts import DEFAULT_TEXTS, solve_prompt
from srl.rewards.outcome import OutcomeReward
from srl.run_dir import RunDir
from srl.seeds import derive_seed
from srl.sft.plan import draw_updates, learning_rate
from srl.sft.rows import keeps_apart
from srl.sft.tokens import TaughtData, TaughtExample, tokenize
from srl.sft.train import train_sft
from srl.stage import Stage
from srl.training_config import ScheduleConfig, SFTConfig
from srl.types import TrainingExample

FLOAT32 = ModelConfig(path="", precision="float32")


def examples(num, *, seed=0, vocab=250, longest=30):
    rng = random.Random(seed)

    def ids(most):
        return np.array([rng.randrange(5, vocab) for _ in range(rng.randrange(1, most))], dtype=np.int32)

    return [TaughtExample(prompt_ids=ids(longest), completion_ids=ids(longest)) for _ in range(num)]


def train(folder, *, model=None, data=None, seed=0, computation=FLOAT32, schedule=None, **options):
    """A stage of 12 + 4 random examples; returns its folder and what it logged."""
    more = {name: options.pop(name) for name in ("max_tokens", "solve", "on_metrics") if name in options}
    settings = SFTConfig(**({"batch_size": 5, "learning_rate": 1e-2, "num_epochs": 2} | options))
    config = StageConfig(kind="sft", data=DataConfig(train="none"), sft=settings, schedule=schedule or ScheduleConfig())
    scoring = Scoring(parse=parse_solution, reward=OutcomeReward(), format_penalty=0.0)
    stage = Stage(name="sft", config=config, training=[], validation=[], scoring=scoring)
    data = data or TaughtData(training=examples(12), validation=examples(4, seed=1))
    tiny, tokenizer = tiny_policy()
    folder.mkdir(parents=True, exist_ok=True)
    path = train_sft(
        stage, data, model or tiny, tokenizer, Accelerator(cpu=True), RunDir(folder), seed=seed,
        computation=computation, **more,
    )  # fmt: skip
    return path, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def loss_by_hand(model, chosen):
    """Mean cross-entropy of the completions' tokens, one example at a time."""
    total, count = torch.zeros(()), 0
    for example in chosen:
        ids = torch.tensor([*example.prompt_ids.tolist(), *example.completion_ids.tolist()])
        logits = model(input_ids=ids[None]).logits[0]
        start = len(example.prompt_ids)
        total = total + functional.cross_entropy(logits[start - 1 : -1], ids[start:], reduction="sum")
        count += len(example.completion_ids)
    return total / count


def steep():
    """The tiny policy with larger weights, whose gradients are larger than the norm they are clipped to."""
    model, _ = tiny_policy()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model


def assert_close(one, other, tolerance=2e-5):
    for name in one:
        assert float((one[name] - other[name]).abs().max()) < tolerance, name


def weights(path):
    return load_file(path / "model.safetensors")


@pytest.mark.parametrize("packing", [True, False])
def test_every_update_is_the_one_made_by_hand(tmp_path, packing):
    """Loss, norm, rate and weights: cross-entropy of completions, AdamW, norm 1, warm-up and cosine."""
    path, lines = train(tmp_path, model=steep(), packing=packing, schedule=ScheduleConfig(validate_every=100))
    model, data = steep(), examples(12)
    updates = draw_updates(12, num_draws=24, batch_size=5, seed=derive_seed(0, "sft"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.0)
    assert [line["update"] for line in lines] == list(range(6))
    for update, chosen in enumerate(updates, start=1):
        rate = learning_rate(update, num_updates=5, warmup_updates=round(0.3 * 5), highest=1e-2)
        optimizer.param_groups[0]["lr"] = rate
        loss = loss_by_hand(model, [data[place] for place in chosen])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        line = lines[update]
        assert line["sft/loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
        assert line["optimizer/grad_norm"] == pytest.approx(float(norm), rel=1e-4)
        assert line["optimizer/learning_rate"] == pytest.approx(rate, rel=1e-9)
    norms = [line["optimizer/grad_norm"] for line in lines[1:]]
    assert min(norms) > 1.0  # else nothing would be clipped
    assert max(norms) > 1.2 * min(norms)  # else AdamW would hide it
    assert_close(weights(path), {name: tensor for name, tensor in model.state_dict().items() if name in weights(path)})


def test_validation_is_the_loss_of_the_held_out_completions(tmp_path):
    _, lines = train(tmp_path, schedule=ScheduleConfig(validate_every=2))
    model, _ = tiny_policy()
    with torch.no_grad():
        expected = float(loss_by_hand(model, examples(4, seed=1)))
    assert lines[0]["validation/loss"] == pytest.approx(expected, rel=1e-5)
    assert [line["update"] for line in lines if "validation/loss" in line] == [0, 2, 4, 5]


@pytest.mark.parametrize("max_tokens", [1, 60, 10_000])
def test_rows_change_nothing_but_the_last_digits(tmp_path, max_tokens):
    """Whatever fits into a forward pass, packed or padded, an update learns the same."""
    expected, lines = train(tmp_path / "padded", packing=False, max_tokens=10_000)
    for packing in (True, False):
        path, other = train(tmp_path / f"{packing}", packing=packing, max_tokens=max_tokens)
        assert_close(weights(expected), weights(path))
        for one, two in zip(lines, other, strict=True):
            assert one.keys() == two.keys()
            same = {key for key in one if not key.startswith(("time/", "stage"))}
            assert {key: one[key] for key in same} == pytest.approx({key: two[key] for key in same}, rel=2e-3)


PACKS = ["Qwen2ForCausalLM", "LlamaForCausalLM", "Gemma3ForCausalLM", "MistralForCausalLM", "GPT2LMHeadModel"]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", PACKS)
def test_packed_examples_do_not_see_each_other(name, attention):
    model = build(name)
    model.set_attn_implementation(attention)
    assert keeps_apart(model, pad_token_id=0)


def test_a_model_that_carries_a_state_is_not_packed(tmp_path, caplog):
    """Mamba reads a row from left to right and knows no borders in it."""
    model = build("MambaForCausalLM")
    assert not keeps_apart(model, pad_token_id=0)
    data = TaughtData(training=examples(12, vocab=97), validation=[])
    with caplog.at_level(logging.WARNING, logger="srl"):
        _, lines = train(tmp_path, model=model, data=data, num_epochs=1)
    assert "sft.packing is off" in caplog.text
    with torch.no_grad():
        first = draw_updates(12, num_draws=12, batch_size=5, seed=derive_seed(0, "sft"))[0]
        expected = loss_by_hand(build("MambaForCausalLM"), [data.training[place] for place in first])
    assert lines[1]["sft/loss"] == pytest.approx(float(expected), rel=1e-4)


def test_same_seed_same_weights(tmp_path):
    one, other, third = (weights(train(tmp_path / str(index), seed=index // 2)[0]) for index in range(3))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_the_best_validated_model_is_handed_on(tmp_path):
    """At such a rate the loss rises again; the one model that is kept is the lowest's."""
    path, lines = train(tmp_path, num_epochs=6, learning_rate=5e-2, schedule=ScheduleConfig(validate_every=1))
    losses = {line["update"]: line["validation/loss"] for line in lines[1:]}
    best = min(losses, key=losses.__getitem__)
    assert best < max(losses)
    folder = tmp_path / "checkpoints/sft"
    assert path == folder / f"best-{best:05d}" == final_model(folder)
    assert [item.name for item in folder.iterdir() if item.is_dir()] == [path.name]
    assert json.loads((folder / "final.json").read_text())["best"] == {"update": best, "value": losses[best]}


def test_without_validation_the_last_model_is_handed_on(tmp_path):
    path, lines = train(tmp_path, data=TaughtData(training=examples(12), validation=[]))
    assert path == tmp_path / "checkpoints/sft/update-00005" == final_model(path.parent)
    assert not any(key.startswith("validation") for line in lines for key in line)


def test_solved_problems_can_choose_the_best_model(tmp_path):
    accuracies = iter([0.0, 0.2, 0.6, 0.6, 0.1, 0.3])
    schedule = ScheduleConfig(validate_every=1, num_validation_problems=3, best_by="whole")
    path, lines = train(tmp_path, schedule=schedule, solve=lambda: {"validation/whole_accuracy": next(accuracies)})
    assert path.name == "best-00002"  # the first of the equal ones
    assert [line["validation/whole_accuracy"] for line in lines] == [0.0, 0.2, 0.6, 0.6, 0.1, 0.3]


def test_a_number_of_examples_ends_the_stage(tmp_path):
    data = examples(12)
    path, lines = train(tmp_path, num_examples=7, data=TaughtData(training=data, validation=[]))
    assert path.name == "update-00002"
    assert [line["sft/num_examples"] for line in lines[1:]] == [5, 7]
    chosen = draw_updates(12, num_draws=7, batch_size=5, seed=derive_seed(0, "sft"))
    seen = [data[place] for update in chosen for place in update]
    assert lines[-1]["sft/num_tokens"] == sum(map(len, seen))
    assert lines[-1]["sft/num_learned_tokens"] == sum(len(item.completion_ids) for item in seen)
    assert lines[-1]["data/epoch"] == 7 / 12


def test_a_stage_that_was_killed_starts_anew_and_ends_the_same(tmp_path):
    class KilledError(Exception):
        pass

    def kill_at(update):
        def look(line):
            if line["update"] == update:
                raise KilledError

        return look

    often = ScheduleConfig(validate_every=1)
    whole, lines = train(tmp_path / "whole", schedule=often)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", schedule=often, on_metrics=kill_at(3))
    assert final_model(tmp_path / "killed/checkpoints/sft") is None
    again, repeated = train(tmp_path / "killed", schedule=often)
    one, other = weights(whole), weights(again)
    assert all(torch.equal(one[name], other[name]) for name in one)

    def timeless(logged):
        return [{key: value for key, value in line.items() if "time/" not in key} for line in logged]

    assert timeless(repeated) == timeless(lines)
    left = sorted(item.name for item in (tmp_path / "killed/checkpoints/sft").iterdir())
    assert left == sorted(item.name for item in (tmp_path / "whole/checkpoints/sft").iterdir())


def test_what_is_saved_is_configured_as_before(tmp_path):
    """TRL writes the tokenizer's special tokens into the model's configuration; the next stage must not find them."""
    model, tokenizer = tiny_policy()
    model.config.pad_token_id = None
    model.generation_config.eos_token_id = [7, int(tokenizer.eos_token_id)]
    model.save_pretrained(tmp_path / "before")
    path, _ = train(tmp_path / "run", model=model)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((path / name).read_text()) == json.loads((tmp_path / "before" / name).read_text())


def test_a_launchers_number_format_does_not_override_the_recipe(tmp_path, monkeypatch):
    _, plain = train(tmp_path / "plain", num_epochs=1)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    _, launched = train(tmp_path / "launched", num_epochs=1)
    assert [line.get("sft/loss") for line in launched] == [line.get("sft/loss") for line in plain]


@pytest.mark.parametrize("packing", [True, False])
def test_bfloat16_and_checkpointed_activations(tmp_path, packing):
    """Both are in force: bfloat16 changes the loss a little; computing activations twice changes nothing."""
    _, plain = train(tmp_path / "plain", packing=packing)
    twice = ModelConfig(path="", precision="float32", gradient_checkpointing=True)
    path, lines = train(tmp_path / "twice", packing=packing, computation=twice)
    assert [line.get("sft/loss") for line in lines] == [line.get("sft/loss") for line in plain]
    assert weights(path).keys() == tiny_policy()[0].state_dict().keys() - {"lm_head.weight"}
    path, lines = train(tmp_path / "half", packing=packing, computation=ModelConfig(path=""))
    assert lines[1]["sft/loss"] != plain[1]["sft/loss"]
    assert lines[1]["sft/loss"] == pytest.approx(plain[1]["sft/loss"], rel=2e-2)
    assert lines[0]["validation/loss"] != plain[0]["validation/loss"]
    assert {tensor.dtype for tensor in weights(path).values()} == {torch.float32}


def test_nothing_of_it_reaches_the_stages_that_follow(tmp_path):
    """accelerate keeps its state per process: several micro-batches per update must not divide a later loss."""
    accelerator = Accelerator(cpu=True, mixed_precision="no", gradient_accumulation_steps=1)
    train(tmp_path, max_tokens=20)
    assert accelerator.gradient_accumulation_steps == 1
    assert accelerator.sync_gradients
    assert accelerator.mixed_precision == "no"
    parameter = torch.nn.Parameter(torch.ones(()))
    accelerator.backward(3 * parameter)
    assert float(parameter.grad) == 3.0


def test_nothing_is_written_but_the_run(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise AssertionError("pickled")

    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.chdir(tmp_path)
    train(tmp_path / "run")
    assert [item.name for item in tmp_path.iterdir()] == ["run"]
    files = {item.name for item in (tmp_path / "run").rglob("*") if item.is_file()}
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in files)
    assert capsys.readouterr().out == ""


def test_prompt_tokens_are_those_that_are_sampled_from_and_the_turn_ends():
    from srl.engines.transformers import TransformersEngine

    model, tokenizer = tiny_policy()
    made = TrainingExample(example_id="a", prompt=solve_prompt("two plus two"), target="seven times six")
    (taught,) = tokenize([made], tokenizer)
    engine = TransformersEngine(model, tokenizer)
    assert len(taught.prompt_ids) == engine.count_prompt_tokens(made.prompt)
    assert tokenizer.decode(taught.completion_ids[:-1]) == "seven times six"
    assert taught.completion_ids[-1] == tokenizer.eos_token_id


def test_a_template_that_opens_think_owns_the_tag():
    _, tokenizer = tiny_policy()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>"
    prompt = solve_prompt("two", texts=DEFAULT_TEXTS)
    (taught,) = tokenize([TrainingExample(example_id="a", prompt=prompt, target="<think>six</think>two")], tokenizer)
    assert tokenizer.decode(taught.completion_ids[:-1]) == "six</think>two"
    with pytest.raises(ConfigError, match=r'does not begin with thinking.*sft.teach = "trace"'):
        list(tokenize([TrainingExample(example_id="a", prompt=prompt, target="two")], tokenizer))
