"""The number of processes changes nothing: two processes on one CPU against one, on the same data.

Two processes are started once (this file is their program, see ``_work``); they write down what they computed, and
the tests compare it with what this process computes alone. They meet through a file, so no port can be taken, and
every wait has an end.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from test_loss_variants import MAX_COMPLETION_TOKENS, VARIANTS
from test_update import chains, with_logprobs
from tiny import example, random_groups, stage, tiny_policy, trainer

from srl.advantage import compute_advantages
from srl.compute_config import TrainerConfig
from srl.engines.scripted import ScriptedEngine
from srl.errors import SRLError
from srl.policy import load_policy
from srl.training_config import LossConfig, OptimizerConfig, ScheduleConfig
from srl.types import TrainingExample
from srl.update import PolicyUpdater

NUM_PROCESSES = 2
DEADLINE_SECONDS = 150
UPDATE_CASES = {
    "packed": {"trainer": TrainerConfig()},  # one micro-batch for each process
    "packed, uneven": {"trainer": TrainerConfig(max_tokens_per_micro_batch=120)},
    "packed by group": {"trainer": TrainerConfig(prefix_sharing="group", max_tokens_per_micro_batch=150)},
    "padded": {"trainer": TrainerConfig(prefix_sharing="off")},
    "padded, uneven": {"trainer": TrainerConfig(prefix_sharing="off", max_tokens_per_micro_batch=150)},
    "one row each": {"trainer": TrainerConfig(max_tokens_per_micro_batch=1)},
    "clipped": {"max_grad_norm": 0.01},
    "passes": {"passes_per_batch": 2, "trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
    "stale": {"trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
    "dapo": {"trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
    "dapo, padded": {"trainer": TrainerConfig(prefix_sharing="off")},
    "dr_grpo": {"trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
    "gspo": {"trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
    "cispo": {"trainer": TrainerConfig(max_tokens_per_micro_batch=100)},
}
STALE = ("stale", "dapo", "gspo", "cispo")
"""Here older policies sampled some groups, so that ratios differ from 1."""
LOSSES = {
    "passes": LossConfig(beta=0.1),
    "dapo": replace(VARIANTS["dapo"], beta=0.1),
    "dapo, padded": VARIANTS["dapo"],
    "dr_grpo": VARIANTS["dr_grpo"],
    "gspo": VARIANTS["gspo"],
    "cispo": VARIANTS["cispo"],
}
UNEVEN = ("packed, uneven", "padded, uneven", "one row each")
"""Here the processes have different numbers of micro-batches."""
OF_THE_CUT = ("update/num_micro_batches", "update/computed_rate", "update/padding_rate")
"""Metrics that depend on how many processes share the rows."""
SIZES = (1, 2, 3, 5, 8)
CONTINUED = ScheduleConfig(num_updates=5, validate_every=2, save_every=3, num_epochs=50)
BROKEN_OFF = ScheduleConfig(num_updates=3, validate_every=2, save_every=3, num_epochs=50)


def make_updates(case: str) -> tuple[torch.Tensor, list[dict]]:
    """Two updates by plain SGD; returns how far the weights moved and the metrics."""
    accelerator = Accelerator(cpu=True)
    model, _ = tiny_policy()
    before = torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])
    settings = {"learning_rate": 0.5, "max_grad_norm": 1e9} | UPDATE_CASES[case]
    settings_of_trainer = settings.pop("trainer", TrainerConfig())
    loss = LOSSES.get(case, LossConfig())
    updater = PolicyUpdater(
        accelerator.prepare_model(model),
        accelerator.prepare_optimizer(torch.optim.SGD(model.parameters(), lr=0.0)),
        accelerator,
        loss=loss,
        optimization=OptimizerConfig(**settings),
        trainer=settings_of_trainer,
        precision="float32",
        temperature=1.0,
        pad_token_id=0,
        reference=tiny_policy(1)[0] if loss.beta else None,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
    )
    metrics = []
    for number in (1, 2):
        groups = [*chains(1, group_size=3, seed=number), *random_groups(2, 3, seed=number)]
        stale = [False] * 5
        if case in STALE:
            groups, stale = with_logprobs(groups, tiny_policy(2)[0]), [True, False, False, True, False]
        advantages = [compute_advantages(group.rewards) for group in groups]
        metrics.append(updater.update(groups, advantages, number, off_policy=stale))
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return after - before, metrics


def update_that_fails(groups: list, **settings) -> str:
    """The error of an update, "" without one."""
    model, _ = tiny_policy()
    updater = PolicyUpdater(
        model, torch.optim.SGD(model.parameters(), lr=0.0), Accelerator(cpu=True), loss=LossConfig(),
        optimization=OptimizerConfig(), trainer=TrainerConfig(), precision="float32", temperature=1.0, pad_token_id=0,
        reference=None,
    )  # fmt: skip
    try:
        updater.update(groups, [[1.0] * len(group.rollouts) for group in groups], 1, **settings)
    except SRLError as error:
        return str(error)
    return ""


def scripted_engine() -> ScriptedEngine:
    """More or less of the expert's text, by prompt and index: groups that are kept and groups that are not."""

    def reply(prompt, index):
        number = int(prompt.messages[0]["content"].split()[-1])
        return "seven times six"[: 3 + (index * number) % 5 * 3]

    return ScriptedEngine(reply)


def roll_out(folder: Path, num_examples: int) -> list:
    """[example id, texts, rewards] of each group, as the collector gets them in this process."""
    collector = trainer(stage(), folder, engine=scripted_engine())._collector
    parts = list(collector._roll_out_feed(iter([example(index) for index in range(num_examples)]), 1))
    groups = [group for part in parts for group in part.groups.values()]
    assert [place for part in parts for place in part.groups] == list(range(num_examples))
    return [
        [group.example.example_id, [rollout.completion.text for rollout in group.rollouts], list(group.rewards)]
        for group in groups
    ]


def roll_out_one_prompt(folder: Path) -> list:
    """Texts that the policy samples for four examples with the same prompt."""
    same = [TrainingExample(example_id=f"e{index}", prompt=example(0).prompt, target="") for index in range(4)]
    (part,) = trainer(stage(), folder)._collector._roll_out_feed(iter(same), 1)
    return [[rollout.completion.text for rollout in part.groups[place].rollouts] for place in range(4)]


def train_break_off_and_resume(folder: Path) -> dict:
    """Three updates; then, by new objects, on to five. Returns whether resuming here rewrote the metrics."""
    trainer(stage(schedule=BROKEN_OFF), folder, engine=scripted_engine()).train()
    model = load_policy(folder / "checkpoints/srl/update-00003")[0]
    resumed = trainer(stage(schedule=CONTINUED), folder, model=model, engine=scripted_engine())
    accelerator = Accelerator(cpu=True)
    if accelerator.is_main_process:
        accelerator.wait_for_everyone()  # the other one first, so that what it writes is seen
    before = (folder / "metrics.jsonl").stat().st_ino
    resumed.resume()
    wrote = (folder / "metrics.jsonl").stat().st_ino != before
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    resumed.train()
    return {"wrote": wrote, "weights": torch.cat([weight.detach().flatten() for weight in model.parameters()])}


def _work(folder: Path, rank: int) -> None:
    """What each of the processes does."""
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting-point'}",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    results = {
        "num_processes": Accelerator(cpu=True).num_processes,
        "updates": {case: make_updates(case) for case in UPDATE_CASES},
        "one_rollout": update_that_fails(random_groups(1, 1)),
        "stale": update_that_fails(random_groups(4, 1), off_policy=[True, False, False, False]),
        "rolled_out": {size: roll_out(folder / "rolled-out", size) for size in SIZES},
        "one_prompt": roll_out_one_prompt(folder / "rolled-out"),
        "trained": train_break_off_and_resume(folder / "two"),
    }
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    """What the processes found, by rank, and the folder they wrote to."""
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "LOCAL_WORLD_SIZE": str(NUM_PROCESSES),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    logs = [(folder / f"{rank}.log").open("w") for rank in range(NUM_PROCESSES)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), str(rank)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            if any(process.poll() not in (None, 0) for process in processes):
                break  # the others would wait for it
            time.sleep(0.05)
    finally:
        codes = [process.poll() for process in processes]
        for process, log in zip(processes, logs, strict=True):
            process.kill()
            process.wait()
            log.close()
    if codes != [0] * NUM_PROCESSES:
        pytest.fail(f"exit codes {codes}\n" + "\n".join((folder / f"{r}.log").read_text() for r in range(2)))
    return [torch.load(folder / f"{rank}.pt") | {"folder": folder} for rank in range(NUM_PROCESSES)]


def test_there_are_two_processes(results):
    assert [result["num_processes"] for result in results] == [2, 2]


@pytest.mark.parametrize("case", UPDATE_CASES)
def test_the_update_is_that_of_one_process(results, case):
    moved, metrics = make_updates(case)
    assert moved.norm() > 1e-3
    for result in results:
        other, other_metrics = result["updates"][case]
        torch.testing.assert_close(other, moved, rtol=1e-4, atol=2e-6 * float(moved.norm()))
        for ours, theirs in zip(metrics, other_metrics, strict=True):
            assert set(ours) == set(theirs)
            assert without_the_cut(theirs) == pytest.approx(without_the_cut(ours), rel=1e-4, abs=1e-6)


def without_the_cut(metrics):
    return {key: value for key, value in metrics.items() if key not in OF_THE_CUT and not key.startswith("time/")}


def test_metrics_of_the_cut_are_sums_over_the_processes(results):
    for case in UPDATE_CASES:
        first, second = (result["updates"][case][1] for result in results)
        for key in OF_THE_CUT:
            assert [line.get(key) for line in first] == [line.get(key) for line in second]
    for line in results[0]["updates"]["one row each"][1]:
        assert line["update/num_micro_batches"] == 15
        assert line["update/computed_rate"] == pytest.approx(1)
    for case, number in (("packed", 2), ("padded", 2)):
        assert [line["update/num_micro_batches"] for line in results[0]["updates"][case][1]] == [number, number]
    for case in UNEVEN:  # in the first update
        assert results[0]["updates"][case][1][0]["update/num_micro_batches"] % 2 == 1


def test_all_processes_end_with_the_same_weights(results):
    for case in UPDATE_CASES:
        assert torch.equal(results[0]["updates"][case][0], results[1]["updates"][case][0])
    assert torch.equal(results[0]["trained"]["weights"], results[1]["trained"]["weights"])


def test_fewer_rollouts_than_processes_is_an_error_everywhere(results):
    assert all("fewer processes" in result["one_rollout"] for result in results)


def test_one_stale_row_without_logprobs_is_an_error_everywhere(results):
    """An error of the one process that has the row would leave the other waiting."""
    assert all("max_staleness" in result["stale"] for result in results)


@pytest.mark.parametrize("size", SIZES)
def test_every_process_gets_all_groups_in_order(results, tmp_path, size):
    """Also with an uneven number of examples, and with fewer examples than processes."""
    alone = roll_out(tmp_path, size)
    assert [row[0] for row in alone] == [f"e{index}" for index in range(size)]
    for result in results:
        assert result["rolled_out"][size] == alone


def test_processes_sample_differently(results):
    """Each has its own seed: equal prompts on two processes must not bring the same rollouts twice."""
    assert results[0]["one_prompt"] == results[1]["one_prompt"]
    first, second, *_ = results[0]["one_prompt"]
    assert first != second


def read_metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [without_the_cut({key: value for key, value in line.items() if key != "stage"}) for line in lines]


def test_a_run_is_that_of_one_process_also_when_resumed(results, tmp_path):
    train_break_off_and_resume(tmp_path)
    alone, together = read_metrics(tmp_path), read_metrics(results[0]["folder"] / "two")
    assert [line["update"] for line in alone] == [0, 1, 2, 3, 4, 5]
    assert sum(line.get("sampling/num_rejected", 0) for line in alone) > 0
    assert len(together) == len(alone)  # one process writes
    for ours, theirs in zip(alone, together, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-2, abs=1e-4)
    path = "checkpoints/srl/update-00005/model.safetensors"
    ours, theirs = load_file(tmp_path / path), load_file(results[0]["folder"] / "two" / path)
    start = tiny_policy()[0].state_dict()
    for name, weight in ours.items():
        # AdamW divides by the size of the gradient, so what differs in the last digit of nothing differs here.
        assert (theirs[name] - weight).norm() <= 1e-2 * (weight - start[name]).norm()


def test_only_the_main_process_cuts_the_metrics_on_resume(results):
    """Two processes that write the same file at once lose lines or fail."""
    assert not results[1]["trained"]["wrote"]


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]))
