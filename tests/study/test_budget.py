"""What a run has spent, from its metrics."""

import json

from srl.study.budget import Spent, read_spent


def write_metrics(folder, lines):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def rollout_line(stage, update, rollouts, **more):
    return {
        "stage": stage, "update": update, "rollout/num_rollouts": rollouts, "rollout/sampled_tokens": 10 * rollouts,
        "time/rollout_seconds": 2.0, "time/reward_seconds": 0.5, "time/update_seconds": 1.0, **more,
    }  # fmt: skip


def test_stages_are_added_and_validation_is_not_training(tmp_path):
    write_metrics(
        tmp_path / "run",
        [
            {"stage": "sft", "update": 0, "validation/whole_accuracy": 0.1, "time/validation_seconds": 4.0},
            {
                "stage": "sft",
                "update": 1,
                "sft/num_examples": 8,
                "sft/num_learned_tokens": 80,
                "time/update_seconds": 1.0,
            },
            {
                "stage": "sft",
                "update": 2,
                "sft/num_examples": 16,
                "sft/num_learned_tokens": 170,
                "time/update_seconds": 1.0,
            },
            {"stage": "srl", "update": 0, "validation/stepwise_accuracy": 0.3},
            rollout_line("srl", 1, 20),
            rollout_line("srl", 2, 30, **{"validation/whole_accuracy": 0.5}),
        ],
    )
    spent, curve = read_spent(tmp_path / "run")
    assert spent == Spent(rollouts=66, sampled_tokens=500, learned_tokens=170, seconds=8.0, validation_seconds=4.0)
    assert [(point.rollouts, point.tokens, point.whole, point.stepwise) for point in curve] == [
        (0, 0, 0.1, None),
        (16, 170, None, 0.3),
        (66, 670, 0.5, None),
    ]


def test_a_run_that_has_not_begun_has_spent_nothing(tmp_path):
    assert read_spent(tmp_path) == (Spent(), [])


def test_a_torn_line_of_a_running_training_is_not_counted_yet(tmp_path):
    write_metrics(tmp_path / "run", [rollout_line("srl", 1, 20)])
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "srl", "upd')
    assert read_spent(tmp_path / "run")[0].rollouts == 20
