"""The sequence similarity beside difflib and cydifflib, on the same pairs in the same run.

    python benchmarks/similarity.py --json benchmarks/results/similarity.json [--data FOLDER]

Pairs come from real solutions (FOLDER/math/amc_aime_solutions.jsonl) and agents' actions (FOLDER/swe/miniswe): a piece
of so many characters with another piece ("unrelated"), or with itself after a share of its words was replaced by
others of its words. Every pair is measured with all implementations one after the other, three times, and each counts
with its fastest; a cell of the grid is the median over its pairs, a ratio the median of the ratios of its pairs. All
results are compared: a difference ends the benchmark. One core, but for the batch.

``summary``: ratios at 800 and 2,000 characters are the lowest of the cells of that length. ``batch_4096_seconds`` is an
update of the paper's size on two threads: 512 real steps as targets with 8 actions each, of all kinds above.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cydifflib

from srl.rewards.similarity import MAX_SCORED_CHARACTERS, matching_blocks, sequence_similarities, sequence_similarity
from srl.run_dir import environment, write_json

LENGTHS = (5, 10, 20, 50, 100, 200, 400, 800, 2000, 5000)
MAX_DIFFLIB_LENGTH = 2000
REPLACED = {"unrelated": None, "80 % replaced": 0.8, "50 % replaced": 0.5, "20 % replaced": 0.2, "5 % replaced": 0.05}
Ratio = Callable[[str, str], float]


def real_texts(data: Path) -> tuple[list[str], list[str]]:
    """(steps of solutions, actions of agents), as they stand in the files."""
    rows = (data / "math" / "amc_aime_solutions.jsonl").read_text("utf-8").splitlines()
    steps = [step.strip() for row in rows for step in json.loads(row)["solution"].split("\n\n")]
    actions = [
        str(message["content"])
        for path in sorted((data / "swe" / "miniswe").glob("*.traj.json"))
        for message in json.loads(path.read_text("utf-8"))["messages"]
        if message["role"] == "assistant"
    ]
    return [step for step in steps if step], [action for action in actions if action]


def replace_words(text: str, share: float, rng: random.Random) -> str:
    """``text`` with this share of its words replaced by others of its words."""
    words = text.split(" ")
    return " ".join(rng.choice(words) if rng.random() < share else word for word in words)


def make_pair(corpus: str, length: int, share: float | None, rng: random.Random) -> tuple[str, str]:
    """Two texts of about ``length`` characters."""
    first, second = (rng.randrange(len(corpus) - length) for _ in range(2))
    a = corpus[first : first + length]
    return (a, corpus[second : second + length]) if share is None else (a, replace_words(a, share, rng))


def by_difflib(a: str, b: str) -> float:
    """Python's own."""
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def by_cydifflib(a: str, b: str) -> float:
    """The compiled copy of it."""
    return cydifflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def fastest(ratio: Ratio, a: str, b: str, repeats: int) -> tuple[float, float]:
    """(microseconds of the fastest call, its result). Short texts are measured many calls at a time."""
    calls = max(1, 2000 // (len(a) + 1)) if repeats > 1 else 1
    best, result = float("inf"), 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            result = ratio(a, b)
        best = min(best, (time.perf_counter() - started) / calls)
    return best * 1e6, result


def measure_cell(corpus: str, length: int, share: float | None, num_pairs: int, rng: random.Random) -> dict[str, float]:
    """Medians of one cell of the grid."""
    rows: list[dict[str, float]] = []
    for _ in range(num_pairs):
        a, b = make_pair(corpus, length, share, rng)
        ours, expected = fastest(sequence_similarity, a, b, 3)
        cy, found = fastest(by_cydifflib, a, b, 3)
        row = {"ours_us": ours, "cydifflib_us": cy, "vs_cydifflib": cy / ours}
        if length <= MAX_DIFFLIB_LENGTH:
            python, also_found = fastest(by_difflib, a, b, 1 if length >= 400 else 3)
            row |= {"difflib_us": python, "vs_difflib": python / ours}
            found = found if found == also_found else float("nan")
        if found != expected:
            raise SystemExit(f"results differ on {a!r} and {b!r}")
        rows.append(row)
    return {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}


def update_pairs(steps: list[str], rng: random.Random) -> list[tuple[str, str]]:
    """512 targets with 8 actions each: what an update of the paper's size scores."""
    pairs: list[tuple[str, str]] = []
    for target in rng.sample(steps, 512):
        shares = [0.8, 0.5, 0.2, 0.05, 0.5, 0.2]
        actions = [replace_words(target, share, rng) for share in shares] + rng.sample(steps, 2)
        pairs += [(action, target) for action in actions]
    return pairs


def measure_batch(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The whole batch with one and two threads, and by cydifflib pair by pair."""
    seconds: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(5):
        for workers, times in seconds.items():
            started = time.perf_counter()
            found = sequence_similarities(pairs, num_workers=int(workers))
            times.append(time.perf_counter() - started)
    started = time.perf_counter()
    if found != [by_cydifflib(a, b) for a, b in pairs]:
        raise SystemExit("results differ in the batch")
    lengths = [len(text) for pair in pairs for text in pair]
    return {
        "num_pairs": len(pairs),
        "mean_characters": round(statistics.mean(lengths), 1),
        "longest_characters": max(lengths),
        "seconds_by_threads": {workers: round(statistics.median(times), 4) for workers, times in seconds.items()},
        "cydifflib_seconds": round(time.perf_counter() - started, 3),
    }


def stairs(length: int, separator: str) -> str:
    """Runs of one letter, each longer than the one before: every search finds a shorter one, at the end."""
    size = int((2 * length) ** 0.5)
    return separator.join("a" * number for number in range(1, size))[:length]


def measure_worst() -> dict[str, dict[str, float]]:
    """Seconds for texts made to be slow: as long as a reward compares at most, and three times that."""
    rng = random.Random(0)
    found: dict[str, dict[str, float]] = {}
    sequence_similarity("\U0001f600a", "a" * 1000)  # compiles what wide symbols need
    for length in (MAX_SCORED_CHARACTERS, 30_000):
        texts = {
            "one letter, one shorter": ("a" * length, "a" * (length - 1)),
            "one letter, shifted": ("a" * (length - 1) + "b", "c" + "a" * (length - 1)),
            "one letter against text": ("a" * length, ("the area of a square of side a is a^2. " * length)[:length]),
            "periods of three": (("abc" * length)[:length], ("abd" * length)[:length]),
            "shifted periods of two": (("ab" * length)[:length], ("ba" * length)[:length]),
            "stairs of one letter": tuple(stairs(length, separator) for separator in "xy"),
            "random, two letters": ("".join(rng.choices("ab", k=length)), "".join(rng.choices("ab", k=length))),
            "random, thirty letters": tuple(
                "".join(rng.choices("abcdefghijklmnopqrstuvwxyz 123", k=length)) for _ in range(2)
            ),
        }
        found[str(length)] = {}
        for name, (a, b) in texts.items():
            started = time.perf_counter()
            sequence_similarity(a, b)
            found[str(length)][name] = round(time.perf_counter() - started, 3)
            print(length, name, found[str(length)][name])
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--num-pairs", type=int, default=15, help="pairs in each cell of the grid")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    rng = random.Random(0)
    steps, actions = real_texts(arguments.data)
    corpus = "\n\n".join(rng.sample([*steps, *actions], len(steps) + len(actions)))
    started = time.perf_counter()
    sequence_similarity("to be compiled", "or read from the cache")
    first_call = time.perf_counter() - started
    grid: dict[str, dict[str, dict[str, float]]] = {}
    for length in LENGTHS:
        grid[str(length)] = {}
        for name, share in REPLACED.items():
            grid[str(length)][name] = measure_cell(corpus, length, share, arguments.num_pairs, rng)
            print(length, name, grid[str(length)][name])
    a, b = make_pair(corpus, 2000, 0.5, rng)
    blocks_us = statistics.median(fastest(lambda a, b: len(matching_blocks(a, b)), a, b, 1)[0] for _ in range(9))
    worst = measure_worst()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    batch = measure_batch(update_pairs(steps, rng))
    ratios = {
        (key, length): min(cell[key] for cell in grid[str(length)].values())
        for key in ("vs_difflib", "vs_cydifflib")
        for length in (800, 2000)
    }
    slowest = min(cell["vs_cydifflib"] for cells in grid.values() for cell in cells.values())
    result = {
        "summary": {
            **{f"{key}_{length}": ratio for (key, length), ratio in ratios.items()},
            "vs_cydifflib_lowest": slowest,
            "batch_4096_seconds": batch["seconds_by_threads"]["2"],
            "batch_4096_scaling": round(batch["seconds_by_threads"]["1"] / batch["seconds_by_threads"]["2"], 2),
            "worst_seconds": max(worst[str(MAX_SCORED_CHARACTERS)].values()),
            "first_call_seconds": round(first_call, 2),
        },
        "grid": grid,
        "batch": batch,
        "matching_blocks_2000_us": round(blocks_us, 1),
        "worst_cases_seconds": worst,
        "environment": environment({"device": "cpu", "cores": os.cpu_count(), "cydifflib": cydifflib.__version__}),
    }
    write_json(arguments.json, result)
    print(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
