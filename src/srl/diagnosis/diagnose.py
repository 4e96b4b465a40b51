"""A run -> what the reward of each stage paid for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from srl.diagnosis.equality import HIGH_REWARD, LOW_REWARD, Judged, compare_with_outcomes, judge_results
from srl.diagnosis.lengths import reward_at_cliff, reward_by_length
from srl.diagnosis.records import Example, ExampleKind, StageDiagnosis
from srl.diagnosis.sample import Sample, draw_sample
from srl.diagnosis.signals_over_time import read_signals
from srl.saved_run.records import Run
from srl.saved_run.settings import stage_settings


def diagnose_run(run: Run, *, num_examples: int) -> list[StageDiagnosis]:
    """Every stage with a reward that has begun; adds to ``run.notes`` what it finds unreadable among the rollouts.

    ``num_examples`` are shown of each kind, at most.
    """
    stages = [stage for stage in run.stages if stage_settings(run.config, stage).kind != "sft"]
    return [_diagnose_stage(run, stage, num_examples) for stage in stages]


def _diagnose_stage(run: Run, stage: str, num_examples: int) -> StageDiagnosis:
    settings, updates = stage_settings(run.config, stage), run.updates.get(stage, [])
    files = run.rollout_files.get(stage, [])
    sample = draw_sample(stage, files, run.notes, asks_for_step=settings.target == "step")
    judged, equality = judge_results(sample) if settings.target != "answer" else ([], None)
    examples = [*_of_results(sample, judged, num_examples), *_of_steps(sample, num_examples)]
    return StageDiagnosis(
        name=stage,
        kind=settings.kind,
        target=settings.target,
        num_updates=max(
            [int(record["update"]) for record in updates] + [group.update for group in sample.groups] + [0]
        ),
        num_groups=len(sample.groups),
        num_rollouts=sum(len(group.rollouts) + len(group.ungraded) for group in sample.groups),
        num_files=sample.num_files,
        num_files_saved=len(files),
        warnings=tuple(run.warnings.get(stage, ())),
        signals=read_signals(updates, sample),
        lengths=reward_by_length(sample, settings),
        cliff=reward_at_cliff(sample, settings),
        equality=equality,
        outcomes=compare_with_outcomes(sample, settings),
        ungraded=dict(
            Counter(rollout.reason or "unknown" for group in sample.groups for rollout in group.ungraded).most_common()
        ),
        examples=tuple(examples),
    )


def _of_results(sample: Sample, judged: Sequence[Judged], num_examples: int) -> Iterator[Example]:
    """The false positives that were paid most and the false negatives that were paid least."""
    wrong = [item for item in judged if not item.is_equal and item.reward >= HIGH_REWARD]
    right = [item for item in judged if item.is_equal and item.reward <= LOW_REWARD]
    kinds: tuple[tuple[ExampleKind, list[Judged]], ...] = (
        ("false_positive", sorted(wrong, key=lambda item: -item.reward)),
        ("false_negative", sorted(right, key=lambda item: item.reward)),
    )
    for kind, items in kinds:
        shown: set[str] = set()
        for item in items:
            target = sample.groups[item.group].target
            if len(shown) < num_examples and target not in shown:  # one of each step: others say the same again
                shown.add(target)
                yield _example(sample, kind, item.group, item.rollout, result=item.result, expected=item.expected)


def _of_steps(sample: Sample, num_examples: int) -> Iterator[Example]:
    """Near-copies and several steps at once, those first that were paid most."""
    copies = [
        (group, place, sample.actions[group].context[step])
        for group, places in enumerate(sample.copies)
        for place, step in enumerate(places)
        if step is not None
    ]
    several = [
        (group, place, sample.actions[group].next_action)
        for group, places in enumerate(sample.several)
        for place, is_found in enumerate(places)
        if is_found
    ]
    kinds: tuple[tuple[ExampleKind, list[tuple[int, int, str]]], ...] = (("copy", copies), ("several_steps", several))
    for kind, found in kinds:
        shown: set[str] = set()
        for group, place, other in sorted(found, key=lambda item: -(sample.actions[item[0]].rewards[item[1]] or 0.0)):
            if len(shown) < num_examples and sample.groups[group].target not in shown:
                shown.add(sample.groups[group].target)
                yield _example(sample, kind, group, place, other=other)


def _example(
    sample: Sample, kind: ExampleKind, group: int, place: int, *, other: str = "", result: str = "", expected: str = ""
) -> Example:
    saved = sample.groups[group]
    return Example(
        kind=kind,
        update=saved.update,
        example_id=saved.example_id,
        reward=sample.actions[group].rewards[place],
        target=saved.target,
        action=sample.actions[group].actions[place],
        other=other,
        result=result,
        expected=expected,
    )
