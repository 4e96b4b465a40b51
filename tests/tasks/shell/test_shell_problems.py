"""The shell task: problems, the expert in a real shell, and the check of the folder it leaves."""

import dataclasses
import os
import random
import re
import sys
from pathlib import Path

import pytest

from srl.errors import DataError, SRLError
from srl.sandbox import Sandbox, detect_protection
from srl.tasks.shell.corpus import simulate
from srl.tasks.shell.expert import LIMITS, observe, read_problems, run_expert, run_experts, write_problems
from srl.tasks.shell.folder import is_as_expected, write_folder
from srl.tasks.shell.problems import Kind, make_problems
from srl.tasks.shell.scripts import DONE, LOOK, SUBMIT, Work, run_script
from srl.tasks.shell.simulation import SimulatedFolder

SPLITS = ("train", "validation", "test", "corpus")
KINDS = Kind.__args__
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


def all_that_is_here():
    return detect_protection().parts if not detect_protection().bubblewrap else ("network", "filesystem")


def of_each_kind(count, seed=0, split="test"):
    problems = make_problems(split, 60 * count, seed=seed)
    return [problem for kind in KINDS for problem in [item for item in problems if item.kind == kind][:count]]


def work_out(problem):
    """The folder that the instruction asks for, read as a person reads it, without any function of the package."""
    text, files = problem.problem, dict(problem.files)
    number = {name: int(content.split()[-1]) for name, content in files.items() if content.strip()[-1:].isdigit()}
    if text == "Write the sum of a.txt and b.txt to c.txt and their difference to d.txt.":
        a, b = number["a.txt"], number["b.txt"]
        return files | {"c.txt": f"{a + b}\n", "d.txt": f"{a - b}\n"}
    if found := re.fullmatch(
        r"Move the larger of a\.txt and b\.txt to big/ and write its number times (\d) to c\.txt\.", text
    ):
        larger = max("a.txt", "b.txt", key=number.get)
        files[f"big/{larger}"] = files.pop(larger)
        return files | {"c.txt": f"{number[larger] * int(found[1])}\n"}
    if found := re.fullmatch(r"Append to a\.txt its last number plus (\d+), and again so, three times in all\.", text):
        for _ in range(3):
            files["a.txt"] += f"{int(files['a.txt'].split()[-1]) + int(found[1])}\n"
        return files
    if text == "Write how many lines a.txt and b.txt have together to c.txt and move the longer one to big/.":
        lines = {name: len(files[name].splitlines()) for name in ("a.txt", "b.txt")}
        longer = max(lines, key=lines.get)
        files[f"big/{longer}"] = files.pop(longer)
        return files | {"c.txt": f"{sum(lines.values())}\n"}
    if found := re.fullmatch(r"Delete the \.log files and rename the \.txt file to its number plus (\d+)\.", text):
        ((name, content),) = [pair for pair in files.items() if not pair[0].endswith(".log")]
        assert name.endswith(".txt")
        return {f"{int(content) + int(found[1])}.txt": content}
    found = re.fullmatch(
        r"Begin with (\d+)\.txt\. The number in a file plus that in its name is the name of the next\. "
        r"Write the word in the last to a\.txt\.",
        text,
    )
    place = int(found[1])
    while files[f"{place}.txt"].strip().isdigit():
        place += int(files[f"{place}.txt"])
    return files | {"a.txt": files[f"{place}.txt"]}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_splits_share_a_problem(seed):
    keys = {
        split: {(item.problem, str(item.files)) for item in make_problems(split, 500, seed=seed)} for split in SPLITS
    }
    for split, mine in keys.items():
        assert len(mine) == 500
        assert all(mine.isdisjoint(theirs) for other, theirs in keys.items() if other != split)


def test_same_seed_same_problems():
    assert make_problems("train", 20, seed=3) == make_problems("train", 20, seed=3)
    assert make_problems("train", 20, seed=3) != make_problems("train", 20, seed=4)
    assert make_problems("train", 30, seed=3)[:20] == make_problems("train", 20, seed=3)


def test_the_expected_folder_is_what_the_instruction_asks_for():
    problems = make_problems("test", 600, seed=5)
    assert {item.kind for item in problems} == set(KINDS)
    for item in problems:
        assert dict(item.expected) == work_out(item)
        assert item.expected != item.files


def test_no_instruction_tells_a_number_that_is_in_a_file():
    for item in make_problems("train", 300, seed=2):
        told = set(re.findall(r"\d+", item.problem)) - {str(item.operand)}
        assert told.isdisjoint(content.split()[-1] for content in item.files.values() if content)


def test_problems_are_read_back_and_other_files_refused(tmp_path):
    problems = make_problems("test", 12, seed=0)
    write_problems(tmp_path / "test.json", problems)
    assert read_problems(tmp_path / "test.json") == problems
    for text in ("", "{}", '[{"problem_id": "x"}]'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(DataError, match=r"other\.json holds no problems"):
            read_problems(tmp_path / "other.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_problems(tmp_path / "missing.json")


def test_scratch_work_is_right_and_its_last_number_counts():
    for item in make_problems("validation", 300, seed=1):
        folder, script = SimulatedFolder(item.files), run_script(item, Work())
        thought, command = next(script)
        num_commands = 0
        while command != SUBMIT:
            for left, sign, right, result in re.findall(r"(\d+)([-+*])(\d+)=(\d+)", thought):
                assert eval(f"{int(left)}{sign}{int(right)}") == int(result)
                assert re.search(r"\d+", command[::-1])[0] is not None
            for left, sign, right in re.findall(r"(\d)([<>])(\d)", thought):
                assert eval(f"{left}{sign}{right}")
            if "=" in thought and thought[-2] not in "<>":
                assert thought.rpartition("=")[2] in command
            num_commands += 1
            thought, command = script.send(folder.run(command))
        assert thought == DONE
        assert 3 <= num_commands <= 5
        assert folder.files == dict(item.expected)


@needs_linux
@pytest.mark.parametrize("problem", of_each_kind(3, seed=7), ids=lambda item: item.kind)
def test_the_expert_solves_it_for_real_and_a_wrong_command_does_not(problem, tmp_path):
    episode = run_expert(problem, required=all_that_is_here())
    assert episode.is_solved
    assert episode.turns[0].thought == LOOK
    assert episode.turns[-1].action == SUBMIT
    commands = [turn.action for turn in episode.turns[:-1]]
    for place, command in enumerate(commands):
        if re.match(r"echo|mv|rm", command) is None:
            continue
        digits = re.search(r"\d+(?= >)|(?<= )\d+(?=\.txt$)", command)
        wrong = command.replace(digits[0], str(int(digits[0]) + 10), 1) if digits else "true"
        folder = tmp_path / str(place)
        folder.mkdir()
        write_folder(folder, problem.files)
        sandbox = Sandbox(folder, limits=LIMITS)
        sandbox.run("; ".join([*commands[:place], wrong, *commands[place + 1 :]]))
        assert not is_as_expected(folder, problem.expected), wrong


@needs_linux
def test_an_expert_that_fails_is_an_error():
    problem = of_each_kind(1)[0]
    spoilt = dataclasses.replace(problem, expected={**problem.expected, "more.txt": "1\n"})
    with pytest.raises(SRLError, match=f"the expert has not solved {problem.problem_id}"):
        run_expert(spoilt, required=all_that_is_here())


@needs_linux
@pytest.mark.parametrize("careless", [0.0, 0.6, 1.0])
def test_the_simulation_equals_the_shell(tmp_path, careless):
    rng = random.Random(f"careless-{careless}")
    for problem in of_each_kind(2, seed=int(10 * careless), split="corpus"):
        folder = tmp_path / problem.problem_id
        folder.mkdir()
        write_folder(folder, problem.files)
        sandbox, simulated = Sandbox(folder, limits=LIMITS), SimulatedFolder(problem.files)
        script = run_script(problem, Work(lambda: rng.random() < careless))
        _, command = next(script)
        for _ in range(8):
            if command == SUBMIT:
                break
            observation = observe(sandbox, command)
            assert simulated.run(command) == observation, command
            _, command = script.send(observation)
        assert is_as_expected(folder, simulated.files)


def test_the_simulation_refuses_what_it_does_not_know():
    for command in ("ls -l", "cat a.txt | wc", "head a.txt", ""):
        with pytest.raises(ValueError, match="does not know"):
            SimulatedFolder({"a.txt": "1\n"}).run(command) if "|" not in command else SimulatedFolder({}).run("sort a")


EXPECTED = {"a.txt": "85\n", "sun/": "", "sun/b.txt": "1\n2\n", "tub/": ""}


@pytest.fixture
def right(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    write_folder(folder, EXPECTED)
    return folder


def test_the_expected_folder_is_accepted(right):
    assert is_as_expected(right, EXPECTED)
    (right / "a.txt").write_text("85")
    (right / "sun" / "b.txt").write_text("1\n2 \n\n")
    assert is_as_expected(right, EXPECTED), "white space at the end does not count"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "a.txt").write_text("86\n"),
        lambda folder: (folder / "a.txt").write_text(" 85\n"),
        lambda folder: (folder / "a.txt").write_text("85\n85\n"),
        lambda folder: (folder / "a.txt").write_text(""),
        lambda folder: (folder / "a.txt").write_bytes(b"85\xff\n"),
        lambda folder: (folder / "a.txt").write_text("85" + "\n" * 2_000_000),
        lambda folder: (folder / "a.txt").unlink(),
        lambda folder: (folder / "a.txt").rename(folder / "A.txt"),
        lambda folder: (folder / "a.txt").rename(folder / "sun" / "a.txt"),
        lambda folder: (folder / "sun" / "b.txt").rename(folder / "b.txt"),
        lambda folder: (folder / "c.txt").write_text(""),
        lambda folder: (folder / ".hidden").write_text("x"),
        lambda folder: (folder / "sun" / "deep").mkdir(),
        lambda folder: (folder / "tub").rmdir(),
        lambda folder: ((folder / "tub").rmdir(), (folder / "tub").write_text("")),
        lambda folder: ((folder / "tub").rmdir(), (folder / "tub").symlink_to(folder / "sun")),
        lambda folder: ((folder / "a.txt").rename(folder.parent / "x"), (folder / "a.txt").symlink_to("../x")),
        lambda folder: ((folder / "a.txt").unlink(), (folder / "a.txt").mkdir()),
        lambda folder: ((folder / "a.txt").unlink(), os.mkfifo(folder / "a.txt")),
    ],
)
def test_a_near_miss_is_rejected(right, spoil):
    spoil(right)
    assert not is_as_expected(right, EXPECTED)


@needs_linux
def test_many_experts_at_once():
    problems = make_problems("train", 8, seed=0)
    episodes = run_experts(problems, required=all_that_is_here())
    assert [episode.episode_id for episode in episodes] == [problem.problem_id for problem in problems]


def test_the_page_shows_problems_as_the_expert_solves_them():
    page = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text("utf-8")
    shown = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (`.*`) \|$", page, re.MULTILINE)
    assert {kind for kind, _, _ in shown} == set(KINDS)
    by_work = {
        (item.kind, item.problem, ", ".join(f"`{action}`" for _, action, _ in simulate(item, Work())))
        for item in make_problems("test", 200, seed=0)
    }
    assert set(shown) <= by_work
