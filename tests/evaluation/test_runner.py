"""A whole evaluation: scores, files, and what a kill or changed settings do to a folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from srl.engines.scripted import ScriptedEngine
from srl.errors import RewardError, RunDirError
from srl.evaluation.command import fingerprint_model, print_scores
from srl.evaluation.folder import count_ungraded
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits, Mode
from srl.evaluation.statistics import wilson_interval
from srl.prompts import PromptTexts
from srl.types import ChatPrompt, Completion, Generation, Problem, SamplingParams, Score

PROBLEMS = [Problem(problem_id=f"p{n}", problem=f"What is {n} + {n}?", answer=str(2 * n)) for n in range(7)]
SETTINGS = EvaluationSettings(
    num_samples=3,
    sampling=SamplingParams(temperature=1.0, max_completion_tokens=200),
    limits=ChainLimits(max_steps=3),
    context_in="user",
    batch_size=6,
    seed=5,
    model="scripted",
)
BOTH: tuple[Mode, ...] = ("whole", "stepwise")


class SeededEngine:
    """Right or wrong by (prompt, seed, place in the call), as a sampling model's would be; dies at a given call."""

    def __init__(self, dies_at_call: int | None = None) -> None:
        self.num_calls = 0
        self.seeds: list[int] = []
        self.dies_at_call = dies_at_call

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        self.num_calls += 1
        self.seeds.append(seed)
        if self.num_calls == self.dies_at_call:
            raise KeyboardInterrupt
        return [
            Generation(
                prompt_token_ids=(),
                completions=tuple(
                    self._complete(f"{prompt}{row}{index}{seed if sampling.temperature else 0}")
                    for index in range(num_samples)
                ),
            )
            for row, prompt in enumerate(prompts)
        ]

    def _complete(self, everything: str) -> Completion:
        digest = hashlib.sha256(everything.encode()).digest()
        number = int(everything.split("What is ")[1].split(" ")[0])
        text = ["no think tag", "<think></think>step", rf"<think></think>\boxed{{{2 * number}}}",
                rf"<think></think>\boxed{{{number + 40}}}"][digest[0] % 4]  # fmt: skip
        return Completion(text=text, token_ids=tuple(digest[:3]), finish_reason="stop")


def run(output: Path, engine: SeededEngine | None = None, *, modes: Sequence[Mode] = BOTH,
        settings: EvaluationSettings = SETTINGS, problems: Sequence[Problem] = PROBLEMS) -> list[Score]:  # fmt: skip
    return evaluate(engine or SeededEngine(), problems, modes=modes, settings=settings, output=output)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_scores_of_known_outcomes(tmp_path: Path) -> None:
    """Problem 3 is right in every second sample, the even ones always, the other odd ones never; greedy is sample 0."""

    def reply(prompt: ChatPrompt, index: int) -> str:
        number = int(prompt.messages[-1]["content"].split()[2])
        is_right = number % 2 == 0 or (number == 3 and index % 2 == 0)
        return rf"<think></think>\boxed{{{2 * number if is_right else 99}}}"

    seen: list[tuple[int, int]] = []
    scores = evaluate(
        ScriptedEngine(reply),
        PROBLEMS,
        modes=("whole",),
        settings=replace(SETTINGS, num_samples=4),
        output=tmp_path,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert [(score.name, score.num_problems, score.num_samples) for score in scores] == [
        ("whole/greedy", 7, 7),
        ("whole/avg@4", 7, 28),
        ("whole/pass@4", 7, 28),
    ]
    assert [score.value for score in scores] == pytest.approx([5 / 7, 18 / 28, 5 / 7])
    assert (scores[0].low, scores[0].high) == wilson_interval(5, 7)
    assert seen[0] == (0, 35)
    assert seen[-1] == (35, 35)
    assert seen == sorted(seen)
    saved = json.loads((tmp_path / "scores.json").read_text())
    assert [item["value"] for item in saved["scores"]] == [score.value for score in scores]
    assert saved["outcomes"] == {"whole/greedy": {"answered": 7}, "whole/avg@4": {"answered": 28}}
    assert saved["settings"]["seed"] == 5
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 35
    assert lines[0] == {
        "problem_id": "p0", "mode": "whole", "sample_index": 0, "temperature": 0.0,
        "prompt_sha256": lines[0]["prompt_sha256"], "texts": [r"<think></think>\boxed{0}"], "steps": [r"\boxed{0}"],
        "outcome": "answered", "status": "ok", "answer": "0", "is_correct": True,
        "num_completion_tokens": lines[0]["num_completion_tokens"], "finish_reason": "stop",
    }  # fmt: skip


def test_ungraded_samples_are_counted_shown_and_left_out_of_the_rates(tmp_path: Path) -> None:
    """p0: one of two right, one ungraded. p1: one wrong, one ungraded. p2: both ungraded. p3: both wrong."""
    ungraded = r"1.5^{10^{12}} \mod 7"
    replies = {0: ["0", ungraded], 1: ["99", ungraded], 2: [ungraded, ungraded], 3: ["98", "99"]}

    def reply(prompt: ChatPrompt, index: int) -> str:
        return rf"<think></think>\boxed{{{replies[int(prompt.messages[-1]['content'].split()[2])][index]}}}"

    settings = replace(SETTINGS, num_samples=2)
    scores = evaluate(ScriptedEngine(reply), PROBLEMS[:4], modes=("whole",), settings=settings, output=tmp_path)
    greedy, average, passed = scores
    assert (greedy.name, greedy.value, greedy.num_problems, greedy.num_samples) == ("whole/greedy", 1 / 3, 3, 3)
    assert (average.name, average.value, average.num_problems, average.num_samples) == ("whole/avg@2", 1 / 4, 3, 4)
    assert (passed.name, passed.value, passed.num_problems) == ("whole/pass@2", 0.0, 1)  # p3 alone is graded whole
    saved = json.loads((tmp_path / "scores.json").read_text())
    assert saved["outcomes"] == {
        "whole/greedy": {"answered": 3, "ungraded": 1},
        "whole/avg@2": {"answered": 4, "ungraded": 4},
    }
    assert count_ungraded(tmp_path) == 5
    console = Console(file=io.StringIO(), width=80)
    print_scores(scores, console, num_ungraded=5)
    assert "could not be graded: 5 samples" in console.file.getvalue()  # type: ignore[attr-defined]
    before = files(tmp_path)
    evaluate(ScriptedEngine(reply), PROBLEMS[:4], modes=("whole",), settings=settings, output=tmp_path)
    assert files(tmp_path) == before


def test_nothing_graded_is_an_error_that_keeps_the_samples(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda prompt, index: r"<think></think>\boxed{1.5^{10^{12}} \mod 7}")
    settings = replace(SETTINGS, num_samples=0)
    with pytest.raises(RewardError, match=r"whole/greedy: not one sample could be graded.*remove the lines"):
        evaluate(engine, PROBLEMS[:2], modes=("whole",), settings=settings, output=tmp_path)
    path = tmp_path / "samples.jsonl"
    assert len(path.read_text().splitlines()) == 2
    path.write_text("")  # what the message says
    right = ScriptedEngine(lambda prompt, index: r"<think></think>\boxed{0}")
    (score,) = evaluate(right, PROBLEMS[:2], modes=("whole",), settings=settings, output=tmp_path)
    assert score.value == 0.5


def test_all_score_names_and_greedy_only(tmp_path: Path) -> None:
    assert [score.name for score in run(tmp_path / "both")] == [
        "whole/greedy", "whole/avg@3", "whole/pass@3", "stepwise/greedy", "stepwise/avg@3", "stepwise/pass@3",
    ]  # fmt: skip
    greedy = run(tmp_path / "greedy", settings=replace(SETTINGS, num_samples=0))
    assert [score.name for score in greedy] == ["whole/greedy", "stepwise/greedy"]


def test_same_seed_same_files_other_seed_other_samples(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b")
    run(tmp_path / "c", settings=replace(SETTINGS, seed=6))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["samples.jsonl"] != files(tmp_path / "c")["samples.jsonl"]


def test_every_engine_call_has_its_own_seed(tmp_path: Path) -> None:
    engine = SeededEngine()
    run(tmp_path, engine)
    assert len(set(engine.seeds)) == len(engine.seeds) > 12


def test_a_kill_at_any_call_and_a_torn_line_change_nothing_after_resume(tmp_path: Path) -> None:
    engine = SeededEngine()
    expected = run(tmp_path / "whole", engine)
    assert engine.num_calls > 12
    for call in range(1, engine.num_calls + 1):
        folder = tmp_path / f"killed-{call}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, SeededEngine(dies_at_call=call))
        samples = folder / "samples.jsonl"
        if samples.exists() and call % 2:
            samples.write_bytes(samples.read_bytes()[: -(7 * call)])  # cut in the middle of a line, or of a batch
        rest = SeededEngine()
        assert run(folder, rest) == expected
        assert files(folder) == files(tmp_path / "whole")
        assert rest.num_calls < engine.num_calls or call <= 2


def test_a_finished_evaluation_is_read_and_not_drawn_again(tmp_path: Path) -> None:
    expected = run(tmp_path)
    before = files(tmp_path)
    engine = SeededEngine()
    assert run(tmp_path, engine) == expected
    assert engine.num_calls == 0
    assert files(tmp_path) == before


def test_a_mode_can_be_added_later(tmp_path: Path) -> None:
    run(tmp_path / "apart", modes=("stepwise",))
    run(tmp_path / "apart", modes=("whole",))
    apart = run(tmp_path / "apart")
    assert apart == run(tmp_path / "together")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(SETTINGS, seed=6), "seed was 5 and is 6$"),
        (replace(SETTINGS, model="other"), "model was 'scripted' and is 'other'$"),
        (replace(SETTINGS, unmarked="last_number"), r"unmarked was 'wrong' and is 'last_number'$"),
        (replace(SETTINGS, limits=ChainLimits(max_steps=4)), r"limits\.max_steps was 3 and is 4$"),
        (replace(SETTINGS, texts=PromptTexts(solve_system="Solve.")), r"texts\.solve_system was .* and is 'Solve\.'$"),
        (
            replace(SETTINGS, num_samples=2, context_in="assistant"),
            "num_samples was 3 and is 2; context_in was 'user' and is 'assistant'$",
        ),
    ],
)
def test_other_settings_are_refused_by_name(changed: EvaluationSettings, message: str, tmp_path: Path) -> None:
    run(tmp_path, modes=("whole",))
    before = files(tmp_path)
    with pytest.raises(RunDirError, match=message):
        run(tmp_path, settings=changed)
    assert files(tmp_path) == before


def test_other_problems_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(RunDirError, match="problems_sha256 was"):
        run(tmp_path, problems=PROBLEMS[::-1])
    with pytest.raises(RunDirError, match="num_problems was 7 and is 6"):
        run(tmp_path, problems=PROBLEMS[:6])


def test_a_sample_of_another_prompt_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "samples.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    record = json.loads(first) | {"prompt_sha256": "0" * 16}
    path.write_text(json.dumps(record) + "\n" + "".join(rest))
    with pytest.raises(RunDirError, match=r"problem p0 \(whole\) that another prompt"):
        run(tmp_path)


def test_damage_in_the_middle_is_reported_with_its_line(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = "{}\n"
    path.write_text("".join(lines))
    with pytest.raises(RunDirError, match=r"samples\.jsonl, line 4 is no sample"):
        run(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunDirError, match=r"holds config\.json but no settings\.json"):
        run(tmp_path)
    assert list(files(tmp_path)) == ["config.json"]


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all the same"):
        replace(SETTINGS, sampling=SamplingParams(temperature=0.0, max_completion_tokens=9))
    with pytest.raises(ValueError, match="batch_size at least 1"):
        replace(SETTINGS, batch_size=0)
    with pytest.raises(ValueError, match="at least one problem"):
        run(tmp_path, problems=[])
    with pytest.raises(ValueError, match="must not occur twice"):
        run(tmp_path, problems=PROBLEMS[:1] * 2)


def test_the_table_fits_into_80_columns() -> None:
    score = Score(name="stepwise/pass@32", value=1.0, low=0.0, high=1.0, num_problems=10_000, num_samples=320_000)
    console = Console(file=io.StringIO(), width=80)
    print_scores([score, replace(score, name="whole/greedy", value=0.12345, low=0.0444, high=0.9)], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "stepwise/pass@32" in text
    assert "12.3 │" in text
    assert "4.4 to 90.0" in text
    assert "0.0 to 100.0" in text
    assert "…" not in text


def test_a_model_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(3_000_000))
    (folder / "config.json").write_text("{}")
    before = fingerprint_model(str(folder))
    assert before.startswith("model@")
    (folder / "README.md").write_text("words")
    assert fingerprint_model(str(folder)) == before
    data = bytearray(3_000_000)
    data[1_500_000] = 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    assert fingerprint_model(str(folder)) != before
    assert fingerprint_model("owner/name") == "owner/name"
