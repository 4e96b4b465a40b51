r"""How fast final answers are graded, how well that agrees with published verdicts, and what overlaps with sampling.

    python benchmarks/grading.py --data FOLDER [--json benchmarks/results/grading.json]

FOLDER holds qwen25math_cot_8samples.jsonl and skyt1_27b_math500.jsonl, 910 graded solutions. Batches of 4,096 are made
of them with a fixed seed: drawn with repetition, as a policy repeats itself; all different, each answer against
references of other problems too; and with 1 % answers that hang sympy. Processes are started before the clock, and
the cache of results is emptied. The overlap is measured with the base of the quickstart on its task, torch on one
thread; since its answers are numbers, which need no worker, each is made a polynomial that only sympy can compare.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

from srl.parsing import parse_solution
from srl.rewards.comparison import compare
from srl.rewards.final_answer import final_answer
from srl.rewards.grading import DEADLINE_SECONDS, Grader, default_num_workers, shared_grader
from srl.rewards.grading_processes import Template
from srl.rewards.outcome import OutcomeReward, grade_many
from srl.run_dir import environment
from srl.types import ChatPrompt, Generation, SamplingParams, Ungraded

BATCH = 4_096
ENGINE_BATCH = 64
SOURCES = {"qwen": ("qwen25math_cot_8samples.jsonl", "response"), "skyt1": ("skyt1_27b_math500.jsonl", "code")}
Sample = dict[str, Any]


def read_samples(data: Path, source: str) -> list[Sample]:
    """Text, reference answer, the reference that the published grader used, and its verdict, of every sample."""
    file, texts = SOURCES[source]
    rows = [json.loads(line) for line in (data / file).read_text("utf-8").splitlines()]
    return [
        {"text": text, "answer": row["answer"], "gt": row["gt"] or row["answer"], "is_right": is_right}
        for row in rows
        for text, is_right in zip(row[texts], row["score"], strict=True)
    ]


def agreement(samples: Sequence[Sample], reference: str) -> float:
    """Share of samples with the published verdict; the last number counts where no answer is marked, as it did."""
    grades = grade_many([(sample["text"], sample[reference]) for sample in samples], unmarked="last_number")
    return sum(grade == sample["is_right"] for grade, sample in zip(grades, samples, strict=True)) / len(samples)


# --- throughput ----------------------------------------------------------------------------------------------------


def grade_batch(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Seconds for one batch, and how much of it there was to do."""
    shared_grader().forget_results()
    answers = [(final_answer(text, unmarked="last_number") or "", reference) for text, reference in pairs]
    num_open = sum(isinstance(compare(*pair), list) for pair in set(answers))
    started = time.perf_counter()
    grades = grade_many(pairs, unmarked="last_number")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    grade_many(pairs, unmarked="last_number")
    return {
        "seconds": round(seconds, 3),
        "seconds_again_from_cache": round(time.perf_counter() - started, 3),
        "num_pairs": len(pairs),
        "share_repeated": round(1 - len(set(answers)) / len(answers), 3),
        "num_for_math_verify": num_open,
        "num_right": grades.count(True),
        "num_ungraded": sum(isinstance(grade, Ungraded) for grade in grades),
    }


def batches(samples: Sequence[Sample], seed: int) -> dict[str, list[tuple[str, str]]]:
    """The batches of 4,096 (text, reference) pairs."""
    rng = random.Random(seed)
    drawn = [(sample["text"], sample["answer"]) for sample in rng.choices(samples, k=BATCH)]
    answers = list(dict.fromkeys(final_answer(sample["text"], unmarked="last_number") for sample in samples))
    references = list(dict.fromkeys(sample["answer"] for sample in samples))
    distinct = [(rf"\boxed{{{answer}}}", reference) for answer in answers for reference in references]
    distinct = rng.sample(distinct, k=BATCH)
    hanging = [(rf"\boxed{{9^{{9^{{9^{{{9 + k}}}}}}}}}", r"\sqrt{3}") for k in range(BATCH // 100)]
    once = rng.sample([*drawn[: BATCH - len(hanging)], *hanging], k=BATCH)
    repeated = rng.sample([*drawn[: BATCH - len(hanging)], *hanging[:1] * len(hanging)], k=BATCH)
    return {"drawn": drawn, "distinct": distinct, "1 % hang, one formula": repeated, "1 % hang, all different": once}


def measure_processes() -> dict[str, float]:
    """Seconds to start the template, to replace a worker, and from a kill to the next answer of a pool of one."""
    started = time.perf_counter()
    template = Template(deadline_seconds=DEADLINE_SECONDS, memory_bytes=2**31)
    start = time.perf_counter() - started
    seconds: list[float] = []
    for k in range(50):
        worker = template.start_worker()
        worker.compare((rf"\sqrt{{{k + 2}}}", "x"), DEADLINE_SECONDS)
        started = time.perf_counter()
        worker.stop()
        worker = template.start_worker()
        worker.compare((rf"\sqrt{{{k + 3}}}", "x"), DEADLINE_SECONDS)
        seconds.append(time.perf_counter() - started)
        worker.stop()
    template.close()
    return {"start_seconds": round(start, 2), "replacement_seconds": round(statistics.median(seconds), 4)}


# --- overlap -------------------------------------------------------------------------------------------------------


class PolynomialReward:
    """An ``OutcomeReward`` that gives its workers something to do: about 10 ms for each different action."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._reward = OutcomeReward()

    def __call__(self, action: str, target: str) -> float | Ungraded:
        """See ``many``."""
        return self.many([(action, target)])[0]

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """One question of its own for every (action, target)."""
        questions = [polynomial(action) for action, _ in pairs]
        started = time.perf_counter()
        rewards = self._reward.many(questions)
        self.seconds += time.perf_counter() - started
        return rewards


def polynomial(text: str) -> tuple[str, str]:
    """A solution and a reference answer that are equal only after expansion."""
    rng = random.Random(text)
    a, b, c = (rng.randrange(1, 10**6) for _ in range(3))
    return rf"\boxed{{(x+{a})(x+{b})+{c}}}", f"x^2+{a + b}x+{a * b + c}"


class WholeBatches:
    """An engine that returns everything at the end."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        """See Engine.generate."""
        return self._engine.generate(prompts, num_samples=num_samples, sampling=sampling, seed=seed)

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        """See Engine.count_prompt_tokens."""
        return self._engine.count_prompt_tokens(prompt)


def measure_overlap(num_problems: int, repeats: int) -> dict[str, Any]:
    """Wall time of rollouts with rewards during sampling and after it, in turn."""
    import torch

    from srl.completion_rewards import Scoring
    from srl.engines.transformers import TransformersEngine
    from srl.prompts import solve_prompt
    from srl.rollouts import roll_out
    from srl.tasks import CHAINS
    from srl.types import TrainingExample

    torch.set_num_threads(1)
    engine = TransformersEngine.from_pretrained(str(CHAINS.base_folder), batch_size=ENGINE_BATCH)
    examples = [
        TrainingExample(example_id=str(k), prompt=solve_prompt(item.problem, texts=CHAINS.texts), target="0")
        for k, item in enumerate(CHAINS.make_problems("train", num_problems, 0))
    ]
    sampling = SamplingParams(temperature=1.0, max_completion_tokens=288)

    def run(make_engine: Callable[[Any], Any], seed: int) -> tuple[float, float]:
        shared_grader().forget_results()
        reward = PolynomialReward()
        scoring = Scoring(parse=parse_solution, reward=reward, format_penalty=0.0)
        started = time.perf_counter()
        roll_out(examples, make_engine(engine), scoring, group_size=8, sampling=sampling, seed=seed)
        return time.perf_counter() - started, reward.seconds

    run(lambda engine: engine, seed=99)  # warms up the engine and the workers
    during: list[float] = []
    after: list[float] = []
    rewards: list[float] = []
    for seed in range(repeats):
        during.append(run(lambda engine: engine, seed)[0])
        seconds, reward_seconds = run(WholeBatches, seed)
        after.append(seconds)
        rewards.append(reward_seconds)
    num_batches = -(-num_problems * 8 // ENGINE_BATCH)
    share = statistics.median(rewards) / statistics.median(after)
    return {
        "num_rollouts": num_problems * 8,
        "num_batches": num_batches,
        "seconds_streaming": [round(value, 2) for value in during],
        "seconds_whole": [round(value, 2) for value in after],
        "reward_seconds_whole": [round(value, 2) for value in rewards],
        "saved_share": round(1 - statistics.median(during) / statistics.median(after), 3),
        "reward_share_of_whole": round(share, 3),
        "saved_share_at_most": round(share * (1 - 1 / num_batches), 3),  # nothing is sampled after the last batch
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two files of graded samples")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-problems", type=int, default=32, help="for the overlap; eight rollouts each")
    parser.add_argument("--repeats", type=int, default=3, help="for the overlap")
    arguments = parser.parse_args()
    samples = {source: read_samples(arguments.data, source) for source in SOURCES}
    processes = measure_processes()
    print(json.dumps(processes))
    agreements = {
        f"agreement_{source}{suffix}": round(agreement(samples[source], reference), 4)
        for source in SOURCES
        for suffix, reference in (("", "gt"), ("_dataset_answer", "answer"))
    }
    print(json.dumps(agreements))
    warm: Grader = shared_grader()
    throughput: dict[str, dict[str, Any]] = {}
    for name, pairs in batches([*samples["qwen"], *samples["skyt1"]], arguments.seed).items():
        warm.match_many([(f"x+{k}+1+y", f"x+{k + 1}+y") for k in range(4)])
        throughput[name] = grade_batch(pairs)
        print(name, json.dumps(throughput[name]))
    overlap = measure_overlap(arguments.num_problems, arguments.repeats)
    print(json.dumps(overlap))
    result = {
        "summary": {
            "gradings_4096_seconds": throughput["drawn"]["seconds"],
            "gradings_4096_distinct_seconds": throughput["distinct"]["seconds"],
            "replacement_seconds": processes["replacement_seconds"],
            **agreements,
            "overlap_saved_share": overlap["saved_share"],
        },
        "processes": processes,
        "throughput": throughput,
        "overlap": overlap,
        "deadline_seconds": DEADLINE_SECONDS,
        "seed": arguments.seed,
        "environment": environment({"device": "cpu", "cores": os.cpu_count(), "num_workers": default_num_workers()}),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
