import re

from hypothesis import assume, given
from hypothesis import strategies as st

from srl.report.charts import MAX_POINTS, Axis, Series, bucket, interval_plot, line_chart, nice_ticks, reward_strip
from srl.report.curves import PLOTS, stage_figures
from srl.report.text import number, percent, visible

FINITE = st.floats(-1e6, 1e6)


@given(FINITE, FINITE, st.booleans())
def test_ticks_cover_the_range_in_equal_steps(a: float, b: float, is_integer: bool) -> None:
    low, high = min(a, b), max(a, b)
    assume(high - low > 1e-3)
    ticks = nice_ticks(low, high, 4, is_integer=is_integer)
    room = 1e-6 * (high - low)
    assert ticks[0] <= low + room
    assert ticks[-1] >= high - room
    assert 2 <= len(ticks) <= 8
    assert not is_integer or all(tick == int(tick) for tick in ticks)


@given(st.lists(st.tuples(FINITE, st.floats(0, 10)), min_size=1, max_size=30), st.booleans())
def test_every_line_stays_inside_of_its_chart(values: list[tuple[float, float]], has_band: bool) -> None:
    points = tuple((float(index), value) for index, (value, _) in enumerate(values))
    spread = tuple(half for _, half in values) if has_band else ()
    drawing = line_chart(
        [Series(label="a", points=points, spread=spread)], axis=Axis(label="y"), x_label="x", description="d"
    )
    drawn = re.findall(r' points="([^"]*)"', drawing)
    assert len(drawn) == 1 + has_band
    for x, y in (pair.split(",") for line in drawn for pair in line.split()):
        assert 0 <= float(x) <= 360
        assert 0 <= float(y) <= 204


def test_constant_single_and_zero_series_can_be_drawn() -> None:
    for points in (((1.0, 0.0),), ((1.0, 0.5), (2.0, 0.5)), ((0.0, -1.0), (1.0, -1.0))):
        for axis in (Axis(label="y"), Axis(label="y", low=0.0), Axis(label="y", is_rate=True, low=0.0, high=1.0)):
            drawing = line_chart([Series(label="a", points=points)], axis=axis, x_label="x", description="d")
            assert "nan" not in drawing


def test_long_runs_are_averaged_and_say_so() -> None:
    points = tuple((float(update), float(update % 2)) for update in range(1, 3001))
    short, size = bucket(Series(label="a", points=points))
    assert size == 13
    assert len(short.points) <= MAX_POINTS
    assert short.points[0] == (7.0, 7 / 13)
    records = [{"update": x, "reward/mean": y} for x, y in points]
    assert stage_figures(records)[0].caption.endswith("Each point is the mean of 13 updates.")


def test_figure_without_data_has_no_drawing_and_a_band_needs_every_value() -> None:
    figures = stage_figures(
        [{"update": 1.0, "reward/mean": 0.5, "reward/std": 0.1}, {"update": 2.0, "reward/mean": 0.6}]
    )
    assert [figure.drawing is None for figure in figures] == [False] + [True] * (len(PLOTS) - 1)
    assert figures[0].drawing is not None
    assert "band" not in figures[0].drawing
    assert figures[0].legend == (("mean", "0.5", "0.6"),)


def test_drawings_escape_their_texts() -> None:
    bad = '"><script>alert(1)</script>\ud800'
    line = Series(label=bad, points=((1.0, 1.0),))
    drawings = line_chart([line], axis=Axis(label=bad), x_label=bad, description=bad)
    drawings += interval_plot(0.5, 0.4, 0.6, reference=None, description=bad)
    assert "<script" not in drawings
    assert "&lt;script&gt;" in drawings
    drawings.encode("utf-8")


def test_strip_shows_every_reward_and_its_kind() -> None:
    drawing = reward_strip([1.0, 0.5, -1.0, None], failed=[False, False, True, False], marked=[0, 2])
    assert len(re.findall("<rect", drawing)) == 4
    assert drawing.count("bar failed") == 1
    assert drawing.count("<circle") == 2
    assert "1, 0.5, −1, unknown" in drawing


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_can_be_written_and_hides_nothing(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert visible(shown) == shown


def test_numbers() -> None:
    assert (number(0.0), number(12345.6), number(-0.25)) == ("0", "12,346", "−0.25")
    assert (percent(1.0), percent(0.0312)) == ("100.0 %", "3.1 %")
