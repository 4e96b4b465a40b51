"""Every similarity on one fixed set of 500 pairs of real steps: does it rank equal mathematics above other mathematics?

    python benchmarks/similarities.py [--data FOLDER] [--json benchmarks/results/similarities.json]

similarity_pairs.py and agent_pairs.py make the sets, by a fixed seed from FOLDER (../shared/data), and say what they
hold and how a pair gets its label. Nothing of the texts is written anywhere.

- ``spearman``: rank correlation with the label (1 equal, 0 not), on all pairs, on the real and on the certain half.
- ``auc``: how often an equal pair has the higher similarity than one that is not; ties count half.
- ``prefers_wrong``: of the steps with two actions, one right and one wrong, the share in which the wrong one earns at
  least as much. This is what a group of rollouts of one prompt sees.
- ``microseconds``: of one call with one pair, median over the set and 99th percentile, after a warm-up, one thread;
  "math" has to ask its worker processes for the first time.

Intervals are 95 % percentiles of 1,000 bootstrap draws of whole problems, because pairs of one problem are alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from agent_pairs import SEED as AGENT_SEED
from agent_pairs import agent_pairs
from scipy.stats import rankdata
from similarity_pairs import SEED, LabelledPair, math_pairs

from srl.reward_config import RewardConfig
from srl.rewards.choice import build_reward
from srl.rewards.shaping import many_of
from srl.run_dir import environment, write_json
from srl.tasks import CHAINS
from srl.types import Reward, Ungraded

BASE_MODEL = str(CHAINS.base_folder)
THRESHOLDS = (0.4, 0.9)
SETTINGS: dict[str, RewardConfig] = {
    "sequence": RewardConfig(),
    "sequence, autojunk": RewardConfig(autojunk=True),
    f"sequence, thresholds {THRESHOLDS}": RewardConfig(thresholds=THRESHOLDS),
    "words": RewardConfig(similarity="words"),
    "tokens": RewardConfig(similarity="tokens"),
    "indel": RewardConfig(similarity="indel"),
    "lcs": RewardConfig(similarity="lcs"),
    "chrf": RewardConfig(similarity="chrf"),
    "math": RewardConfig(similarity="math"),
}
OF_COMMANDS = ("sequence", "words", "chrf", "shell")
OF_CALLS = ("sequence", "words", "chrf", "tool_call")
NOT_MEASURED = {
    "embedding": "not measured: needs a model",
    "judge": "not measured: needs a model behind an endpoint",
}
PACKAGES = ("rapidfuzz", "sacrebleu", "tree-sitter", "tree-sitter-bash", "math-verify", "sympy", "scipy", "numba")
NUM_DRAWS = 1000
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def reward_named(name: str) -> Reward:
    """The reward a recipe with these settings gets."""
    return build_reward(SETTINGS.get(name) or RewardConfig(similarity=name), model_path=BASE_MODEL)


def grade(reward: Reward, pairs: Sequence[LabelledPair]) -> tuple[Numbers, list[float], int]:
    """Similarities (NaN where ungraded), microseconds of each call, and how many are ungraded."""
    many = many_of(reward)
    many([("x = 1 and some words", "x = 2 and other words")] * 3)
    values: list[float] = []
    microseconds: list[float] = []
    for pair in pairs:
        started = time.perf_counter()
        (value,) = many([(pair.action, pair.target)])
        microseconds.append(1e6 * (time.perf_counter() - started))
        values.append(float("nan") if isinstance(value, Ungraded) else value)
    similarities = np.array(values)
    return similarities, microseconds, int(np.isnan(similarities).sum())


def spearman(similarities: Numbers, labels: Numbers) -> float:
    """Pearson's correlation of the ranks, ties at their mean rank; 0 where one of them does not vary."""
    ranks, others = rankdata(similarities), rankdata(labels)
    if ranks.std() == 0 or others.std() == 0:
        return 0.0
    return float(np.corrcoef(ranks, others)[0, 1])


def auc(similarities: Numbers, labels: Numbers) -> float:
    """Mann and Whitney's U, divided by the number of pairs of pairs; 0.5 where there are none."""
    num_equal = int(labels.sum())
    num_other = len(labels) - num_equal
    if not num_equal or not num_other:
        return 0.5
    ranks = rankdata(similarities)
    return float((ranks[labels == 1].sum() - num_equal * (num_equal + 1) / 2) / (num_equal * num_other))


def interval(similarities: Numbers, labels: Numbers, clusters: Sequence[str]) -> tuple[float, float]:
    """95 % percentiles of the rank correlation over draws of clusters with replacement."""
    rng = np.random.default_rng(SEED)
    places: dict[str, list[int]] = {}
    for place, cluster in enumerate(clusters):
        places.setdefault(cluster, []).append(place)
    members = [np.array(each) for each in places.values()]
    drawn: list[float] = []
    for _ in range(NUM_DRAWS):
        chosen = np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])
        drawn.append(spearman(similarities[chosen], labels[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def prefers_wrong(similarities: Numbers, pairs: Sequence[LabelledPair]) -> dict[str, float]:
    """By kind of the wrong action, and "all": share of targets whose wrong action earns at least as much."""
    right = {pair.target: value for pair, value in zip(pairs, similarities, strict=True) if pair.is_equal}
    lost: dict[str, list[float]] = {}
    for pair, value in zip(pairs, similarities, strict=True):
        if not pair.is_equal and not np.isnan(value) and not np.isnan(right[pair.target]):
            for kind in ("all", pair.kind):
                lost.setdefault(kind, []).append(float(value >= right[pair.target]))
    return {kind: round(statistics.fmean(each), 3) for kind, each in lost.items()}


def describe(similarities: Numbers, pairs: Sequence[LabelledPair]) -> dict[str, Any]:
    """All figures of one similarity on one set."""
    known = ~np.isnan(similarities)
    kept = [pair for pair, is_known in zip(pairs, known, strict=True) if is_known]
    values, labels = similarities[known], np.array([float(pair.is_equal) for pair in kept])
    low, high = interval(values, labels, [pair.cluster for pair in kept])
    equal, other = values[labels == 1], values[labels == 0]
    kinds: dict[str, list[float]] = {}
    for pair, value in zip(kept, values, strict=True):
        kinds.setdefault(f"{pair.kind}, {'equal' if pair.is_equal else 'other'}", []).append(float(value))
    return {
        "num_pairs": len(kept),
        "spearman": round(spearman(values, labels), 3),
        "spearman_low": round(low, 3),
        "spearman_high": round(high, 3),
        "auc": round(auc(values, labels), 3),
        "other_above_median_equal": round(float((other >= np.median(equal)).mean()), 3),
        "equal_below_median_other": round(float((equal <= np.median(other)).mean()), 3),
        "mean_by_kind": {kind: round(statistics.fmean(each), 3) for kind, each in sorted(kinds.items())},
    }


def measure_math(pairs: Sequence[LabelledPair]) -> dict[str, Any]:
    """Every similarity on the 500 pairs."""
    is_certain = np.array([not pair.kind.endswith("_step") for pair in pairs])
    certain = [pair for pair, wanted in zip(pairs, is_certain, strict=True) if wanted]
    real = [pair for pair, wanted in zip(pairs, is_certain, strict=True) if not wanted]
    results: dict[str, Any] = {}
    for name in SETTINGS:
        similarities, microseconds, num_ungraded = grade(reward_named(name), pairs)
        results[name] = {
            "all": describe(similarities, pairs),
            "real": describe(similarities[~is_certain], real),
            "certain": describe(similarities[is_certain], certain),
            "prefers_wrong": prefers_wrong(similarities[is_certain], certain),
            "num_ungraded": num_ungraded,
            "microseconds": round(statistics.median(microseconds), 1),
            "microseconds_p99": round(float(np.percentile(microseconds, 99)), 1),
        }
        print(name, results[name]["all"]["spearman"], results[name]["certain"]["auc"], results[name]["microseconds"])
    return results


def measure_agents(pairs: Sequence[LabelledPair], names: Sequence[str]) -> dict[str, Any]:
    """Some similarities on commands or tool calls."""
    results: dict[str, Any] = {}
    for name in names:
        similarities, microseconds, _ = grade(reward_named(name), pairs)
        results[name] = {
            **describe(similarities, pairs),
            "prefers_wrong": prefers_wrong(similarities, pairs),
            "microseconds": round(statistics.median(microseconds), 1),
        }
        print(name, results[name]["auc"], results[name]["prefers_wrong"]["all"], results[name]["microseconds"])
    return results


def composition(pairs: Sequence[LabelledPair]) -> dict[str, int]:
    """Pairs by kind and label."""
    counts = Counter(f"{pair.kind}, {'equal' if pair.is_equal else 'other'}" for pair in pairs)
    return dict(sorted(counts.items()))


def summarise(results: dict[str, Any], commands: dict[str, Any], calls: dict[str, Any]) -> dict[str, float]:
    """The flat figures that are compared from run to run."""
    summary: dict[str, float] = {}
    for name, figures in results.items():
        key = name.split(", thresholds")[0].replace(", ", "_") + ("_thresholded" if "thresholds" in name else "")
        summary[f"{key}_spearman"] = figures["all"]["spearman"]
        summary[f"{key}_spearman_real"] = figures["real"]["spearman"]
        summary[f"{key}_spearman_certain"] = figures["certain"]["spearman"]
        summary[f"{key}_prefers_wrong"] = figures["prefers_wrong"]["all"]
        summary[f"{key}_microseconds"] = figures["microseconds"]
    for kind, of_agents in (("commands", commands), ("tool_calls", calls)):
        for name, figures in of_agents.items():
            summary[f"{kind}_{name}_auc"] = figures["auc"]
            summary[f"{kind}_{name}_microseconds"] = figures["microseconds"]
    return summary


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with math/ and swe/")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    pairs = math_pairs(arguments.data)
    commands, calls = agent_pairs(arguments.data)
    results = measure_math(pairs)
    of_commands, of_calls = measure_agents(commands, OF_COMMANDS), measure_agents(calls, OF_CALLS)
    result = {
        "summary": summarise(results, of_commands, of_calls),
        "seeds": {"math": SEED, "agents": AGENT_SEED},
        "sets": {"math": composition(pairs), "commands": composition(commands), "tool_calls": composition(calls)},
        "similarities": results,
        "commands": of_commands,
        "tool_calls": of_calls,
        "not_measured": NOT_MEASURED,
        "versions": {package: version(package) for package in PACKAGES},
        "environment": environment({"device": "cpu", "cores": os.cpu_count()}),
    }
    if arguments.json:
        write_json(arguments.json, result)


if __name__ == "__main__":
    main()
