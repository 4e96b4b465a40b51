"""The metrics of a stage -> the figures of the page. One table says what is drawn and what to look for in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srl.report.charts import Axis, Series, bucket, line_chart


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """What one figure shows."""

    title: str
    """Heading."""
    metrics: tuple[tuple[str, str], ...]
    """(metric, label in the legend); the first one is the figure's subject."""
    axis: Axis
    """The vertical axis."""
    caption: str
    """What to look for."""
    spread: str = ""
    """Metric that is the half width of a band around the first one, "" for none."""
    is_sparse: bool = False
    """Measured at some updates only: drawn with dots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure as the template takes it."""

    title: str
    """Heading."""
    drawing: Markup | None
    """The SVG, None when the run has logged none of the metrics."""
    legend: tuple[tuple[str, str, str], ...]
    """(label, first value, last value)."""
    caption: str
    """What to look for."""
    metrics: str
    """Names of the metrics drawn."""


PLOTS = (
    Plot(
        title="Training reward",
        metrics=(("reward/mean", "mean"),),
        spread="reward/std",
        axis=Axis(label="reward per rollout"),
        caption="Should rise, then level off; rejected groups and penalties count too. The band is one standard "
        "deviation over all rollouts of the update; when it closes, groups carry no signal.",
    ),
    Plot(
        title="Validation",
        metrics=(("validation/reward", "reward"), ("validation/exact_match", "exact match")),
        is_sparse=True,
        axis=Axis(label="reward / share of exact matches on held-out examples"),
        caption="The honest twin of the training reward. Training up and validation down means overfitting; "
        "the best of these checkpoints is what the stage hands on.",
    ),
    Plot(
        title="Kept groups",
        metrics=(
            ("sampling/kept_rate", "kept, of drawn"),
            ("sampling/kept_by_format_only_rate", "by format only, of kept"),
        ),
        axis=Axis(label="share of groups", is_rate=True, low=0.0, high=1.0),
        caption="Dynamic sampling keeps groups whose rewards differ. Falling means that prompts become too easy or "
        "stay too hard; a high second line means that groups teach the format and nothing else.",
    ),
    Plot(
        title="Format errors",
        metrics=(("rollout/format_error_rate", "format errors"), ("rollout/truncated_rate", "truncated")),
        axis=Axis(label="share of rollouts", is_rate=True, low=0.0),
        caption="Should fall within the first updates and stay low. A rise later is an early sign of collapse; "
        "truncated completions ask for a higher token limit.",
    ),
    Plot(
        title="Completion length",
        metrics=(("rollout/completion_tokens", "mean"),),
        axis=Axis(label="tokens per completion", low=0.0),
        caption="Free to move. A steady climb costs time and ends in truncation; a drop to almost nothing means that "
        "the monologue was given up.",
    ),
    Plot(
        title="Gradient norm",
        metrics=(("optimizer/grad_norm", "norm"),),
        axis=Axis(label="norm before clipping", low=0.0),
        caption="Should stay within one order of magnitude. Single spikes are clipped away; growth over many updates "
        "asks for a lower learning rate.",
    ),
)

SFT_PLOTS = (
    Plot(
        title="Loss",
        metrics=(("sft/loss", "training"), ("validation/loss", "validation")),
        axis=Axis(label="negative log-probability per token", low=0.0),
        caption="Both should fall. Training down and validation up means overfitting; the checkpoint of the lowest "
        "validation loss is what the stage hands on, unless problems that are solved choose it.",
    ),
    Plot(
        title="Solved problems",
        metrics=(("validation/whole_accuracy", "in one completion"), ("validation/stepwise_accuracy", "step by step")),
        is_sparse=True,
        axis=Axis(label="share of validation problems", is_rate=True, low=0.0, high=1.0),
        caption="What the expert's text is learned for. A loss that falls while this stays says that the wording was "
        "learned and not the way.",
    ),
    Plot(
        title="Learning rate",
        metrics=(("optimizer/learning_rate", "rate"),),
        axis=Axis(label="rate of the update", low=0.0),
        caption="Rises over the warm-up and falls to 0 along a cosine.",
    ),
    PLOTS[-1],
)
"""What is drawn of a stage of sft, which has no rollouts."""


def stage_figures(records: Sequence[dict[str, float]]) -> list[Figure]:
    """One figure for each plot of the stage's kind; those without data say so in place of the drawing."""
    is_sft = any("sft/loss" in record for record in records)
    return [draw_figure(plot, records) for plot in (SFT_PLOTS if is_sft else PLOTS)]


def draw_figure(plot: Plot, records: Sequence[dict[str, float]]) -> Figure:
    """One figure; without data its drawing is None."""
    series: list[Series] = []
    legend: list[tuple[str, str, str]] = []
    bucket_size = 1
    for index, (metric, label) in enumerate(plot.metrics):
        measured = [record for record in records if metric in record]
        if not measured:
            continue
        has_spread = index == 0 and plot.spread != "" and all(plot.spread in record for record in measured)
        line = Series(
            label=label,
            points=tuple((record["update"], record[metric]) for record in measured),
            spread=tuple(record[plot.spread] for record in measured) if has_spread else (),
            has_markers=plot.is_sparse,
        )
        legend.append((label, plot.axis.show(line.points[0][1]), plot.axis.show(line.points[-1][1])))
        line, size = bucket(line)
        bucket_size = max(bucket_size, size)
        series.append(line)
    drawing = None
    if series:
        drawing = line_chart(series, axis=plot.axis, x_label="update", description=_describe(plot, legend))
    caption = plot.caption + (f" Each point is the mean of {bucket_size} updates." if bucket_size > 1 else "")
    metrics = ", ".join([name for name, _ in plot.metrics] + ([plot.spread] if plot.spread else []))
    return Figure(title=plot.title, drawing=drawing, legend=tuple(legend), caption=caption, metrics=metrics)


def _describe(plot: Plot, legend: Sequence[tuple[str, str, str]]) -> str:
    lines = [f"{label} from {first} to {last}" for label, first, last in legend]
    return f"{plot.title}, {plot.axis.label}, over updates: {'; '.join(lines)}"
