"""Policies of known quality at work in the real shell, and their episodes as logs."""

import json
import sys

import pytest
import tyro

from srl.decomposition.command import decompose_command
from srl.engines.scripted import ScriptedEngine
from srl.errors import ConfigError
from srl.examples import make_step_examples
from srl.prompts import step_prompt
from srl.sandbox import detect_protection
from srl.tasks.shell import environment
from srl.tasks.shell.corpus import CONTEXT_TURNS, SHELL_TEXTS, shell_prompt, simulate
from srl.tasks.shell.environment import EpisodeOutcome, parse_action, record_logs, run_episodes
from srl.tasks.shell.evaluation import evaluate_shell
from srl.tasks.shell.expert import read_problems, write_shell_data
from srl.tasks.shell.problems import Kind, make_problems
from srl.tasks.shell.scripts import SUBMIT, Work
from srl.trajectories.reader import read_trajectories
from srl.types import Completion, SamplingParams

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
GREEDY = SamplingParams(temperature=0.0, max_completion_tokens=100)
REQUIRED = ("network", "filesystem") if sys.platform == "linux" and detect_protection().filesystem else ()


@pytest.fixture(scope="module")
def problems():
    drawn = make_problems("test", 60, seed=1)
    return [next(item for item in drawn if item.kind == kind) for kind in Kind.__args__]


def run(engine, problems, **settings):
    given = {"num_samples": 1, "sampling": GREEDY, "seed": 0, "needs_think": True, "required": REQUIRED}
    return run_episodes(engine, problems, **(given | settings))


def expert_engine(problems, *, change=lambda action: action, with_thoughts=True, otherwise=SUBMIT):
    """An engine that knows what the expert does after the expert's rounds."""
    replies = {}
    for problem in problems:
        rounds = []
        for thought, action, observation in simulate(problem, Work()):
            text = f"<think>{thought}</think>{change(action)}" if with_thoughts else change(action)
            replies[str(shell_prompt(problem.problem, rounds))] = text
            rounds.append((action, observation))
    otherwise = f"<think></think>{otherwise}" if with_thoughts else otherwise
    return ScriptedEngine(lambda prompt, _: replies.get(str(prompt), otherwise))


def test_the_experts_actions_solve_every_problem(problems):
    records = run(expert_engine(problems), problems, num_samples=2)
    assert [(record.problem_id, record.sample_index) for record in records] == [
        (problem.problem_id, sample) for problem in problems for sample in range(2)
    ]
    for problem, record in zip(problems, records[::2], strict=True):
        assert record.is_solved
        assert record.outcome is EpisodeOutcome.SUBMITTED
        done = [(turn.thought, turn.action, turn.observation) for turn in record.turns]
        assert done == simulate(problem, Work())
        assert record.num_completion_tokens == sum(len(text) + 1 for text in record.texts)


def test_a_wrong_number_solves_nothing(problems):
    def spoil(action):
        return action.replace("echo ", "echo 1", 1) if action.startswith("echo") else action

    problems = [item for item in problems if item.kind != "remove"]
    records = run(expert_engine(problems, change=spoil), problems)
    assert not any(record.is_solved for record in records)
    assert {record.outcome for record in records} == {EpisodeOutcome.SUBMITTED}


def test_doing_nothing_solves_nothing(problems):
    records = run(ScriptedEngine(lambda *_: f"<think></think>{SUBMIT}"), problems)
    assert not any(record.is_solved for record in records)
    assert all([turn.action for turn in record.turns] == [SUBMIT] for record in records)


def test_a_broken_format_ends_an_episode_and_is_never_solved(problems):
    engine = expert_engine(problems, change=lambda action: "" if action == SUBMIT else action)
    records = run(engine, problems)
    for record in records:
        assert record.outcome is EpisodeOutcome.FORMAT_ERROR
        assert not record.is_solved, "the folder is right, the format is not"
        assert len(record.texts) == len(record.turns) + 1


def test_the_last_turn_ends_an_episode_and_the_folder_counts(problems):
    idle = "ls > /dev/null"
    never = expert_engine(problems, change=lambda action: idle if action == SUBMIT else action, otherwise=idle)
    records = run(never, problems, max_turns=7)
    assert {record.outcome for record in records} == {EpisodeOutcome.MAX_TURNS}
    assert all(record.is_solved for record in records)
    records = run(never, problems, max_turns=2)
    assert all(len(record.turns) == 2 and not record.is_solved for record in records)


def test_actions_without_thoughts_are_taken_where_none_are_needed(problems):
    engine = expert_engine(problems, with_thoughts=False)
    assert all(record.is_solved for record in run(engine, problems, needs_think=False))
    assert {record.outcome for record in run(engine, problems)} == {EpisodeOutcome.FORMAT_ERROR}
    assert all(record.is_solved for record in run(expert_engine(problems), problems, needs_think=False))


@pytest.mark.parametrize(
    ("text", "finish_reason", "status"),
    [
        ("ls", "stop", "ok"),
        ("<think>a</think>ls", "stop", "ok"),
        ("ls", "length", "truncated"),
        ("", "stop", "missing_think"),
        ("a</think>ls", "stop", "text_before_think"),
        ("<think>ls", "stop", "unclosed_think"),
    ],
)
def test_what_an_action_is_where_no_thought_is_needed(text, finish_reason, status):
    parsed = parse_action(Completion(text=text, token_ids=(), finish_reason=finish_reason), needs_think=False)
    assert parsed.status == status
    assert parsed.action == ("ls" if status == "ok" else "")


def test_what_comes_back_is_what_the_shell_says(problems):
    seen = []
    actions = ["cat nowhere.txt", "seq 100", r"printf 'a\0b'", SUBMIT]

    def reply(prompt, _):
        text = prompt.messages[1]["content"]
        seen.append(text)
        return f"<think></think>{actions[len(seen) - 1]}"

    (record,) = run(ScriptedEngine(reply), problems[:1])
    said, numbers, odd, _ = (turn.observation for turn in record.turns)
    assert said == "cat: nowhere.txt: No such file or directory"
    assert numbers.startswith("1\n2\n3\n")
    assert len(numbers) == 200, "what is too long for a small model's prompt is cut"
    assert odd == "a\ufffdb"
    assert seen[1].endswith("$\ncat nowhere.txt\n\ncat: nowhere.txt: No such file or directory\n\n$")


def test_episodes_share_no_folder(problems):
    replies = iter(["echo 1 > mine.txt", "ls", SUBMIT, SUBMIT])
    engine = ScriptedEngine(lambda *_: f"<think></think>{next(replies)}")
    first, second = run(engine, problems[:1], num_samples=2)
    assert [turn.action for turn in first.turns] == ["echo 1 > mine.txt", SUBMIT]
    assert "mine.txt" not in second.turns[0].observation


def test_the_protection_that_is_required_is_asked_for(problems):
    with pytest.raises(ConfigError, match="no protection 'disk'"):
        run(expert_engine(problems), problems, required=("disk",))
    assert environment.REQUIRED == ("network", "filesystem")


def test_evaluation_of_the_expert_and_of_a_beginner(problems):
    settings = {"num_samples": 2, "needs_think": True, "seed": 0, "max_completion_tokens": 100, "required": REQUIRED}
    outcomes = evaluate_shell(expert_engine(problems), problems, **settings)
    assert list(outcomes) == ["environment/greedy", "environment/avg@2", "actions/greedy"]
    for problem in problems:
        assert outcomes["environment/greedy"][problem.problem_id] == [True]
        assert outcomes["environment/avg@2"][problem.problem_id] == [True, True]
        assert outcomes["actions/greedy"][problem.problem_id] == [True] * len(simulate(problem, Work()))
    beginner = ScriptedEngine(lambda *_: f"<think></think>{SUBMIT}")
    outcomes = evaluate_shell(beginner, problems, **(settings | {"num_samples": 0}))
    assert list(outcomes) == ["environment/greedy", "actions/greedy"]
    for problem in problems:
        assert outcomes["environment/greedy"][problem.problem_id] == [False]
        right = outcomes["actions/greedy"][problem.problem_id]
        assert right == [False] * (len(right) - 1) + [True]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell-data")
    write_shell_data(folder, num_train=6, num_validation=3, num_test=4, seed=0, required=REQUIRED)
    return folder


def test_the_data_are_logs_that_our_readers_read(data):
    names = ["train.jsonl", "train-traces.jsonl", "validation.jsonl", "validation-traces.jsonl"]
    assert {path.name for path in data.iterdir()} == {*names, "test.json", "base"}
    assert read_problems(data / "test.json") == make_problems("test", 4, seed=0)
    assert (data / "base" / "model.safetensors").is_file()
    for name in names:
        problems = make_problems(name.partition(".")[0].removesuffix("-traces"), 6 if "train" in name else 3, seed=0)
        trajectories = list(read_trajectories(str(data / name), strict=True))
        assert [item.trajectory_id for item in trajectories] == [problem.problem_id for problem in problems]
        for trajectory, problem in zip(trajectories, problems, strict=True):
            assert (trajectory.kind, trajectory.format) == ("agent", "mini-swe-agent")
            assert trajectory.problem == problem.problem
            assert trajectory.is_right is True
            assert not trajectory.notes
            expected = simulate(problem, Work())
            assert [(step.text, step.observation) for step in trajectory.steps] == [turn[1:] for turn in expected]
            thoughts = [thought if "traces" in name else "" for thought, _, _ in expected]
            assert [step.thought for step in trajectory.steps] == thoughts


def test_training_asks_as_the_environment_does(data):
    for trajectory in read_trajectories(str(data / "train.jsonl"), strict=True):
        rounds = []
        for example in make_step_examples(trajectory, context_turns=CONTEXT_TURNS):
            asked = step_prompt(example, context_in="user", title_in_prompt=False, texts=SHELL_TEXTS)
            assert asked == shell_prompt(trajectory.problem, rounds)
            step = trajectory.steps[example.step_index]
            assert example.target_action == step.text
            rounds.append((step.text, step.observation))


def test_srl_decompose_takes_every_row(data, tmp_path):
    output = tmp_path / "examples.jsonl"
    arguments = [str(data / "train.jsonl"), "-o", str(output), "--strict", "--context-turns", "4", "--num-workers", "1"]
    tyro.cli(decompose_command, args=arguments)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert len(rows) == sum(len(simulate(problem, Work())) for problem in make_problems("train", 6, seed=0))
    assert {row["kind"] for row in rows} == {"agent"}


def test_episodes_of_a_policy_are_logs_too(problems, tmp_path):
    records = run(expert_engine(problems), problems)
    unfinished = run(expert_engine(problems), problems, max_turns=2)
    record_logs(tmp_path / "done.jsonl", records, problems)
    record_logs(tmp_path / "unfinished.jsonl", unfinished, problems)
    for name, wanted, is_right in (("done", records, True), ("unfinished", unfinished, False)):
        trajectories = list(read_trajectories(str(tmp_path / f"{name}.jsonl"), strict=True))
        for trajectory, record in zip(trajectories, wanted, strict=True):
            assert trajectory.trajectory_id == f"{record.problem_id}-{record.sample_index}"
            assert trajectory.is_right is is_right
            assert not trajectory.notes
            found = [(step.thought, step.text, step.observation) for step in trajectory.steps]
            assert found == [(turn.thought, turn.action, turn.observation) for turn in record.turns]
