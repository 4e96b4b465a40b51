import pytest
from scipy import stats

from srl.study.student import two_sided_p, two_sided_quantile


@pytest.mark.parametrize("df", [0.7, 1, 2, 3.3, 10, 63, 500])
def test_equals_scipy(df):
    assert two_sided_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)
    for t in (0.0, 0.3, 1.3, 4.0, 20.0):
        assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-8, abs=1e-300)
        assert two_sided_p(-t, df) == two_sided_p(t, df)


def test_infinitely_far_is_impossible():
    assert two_sided_p(float("inf"), 5) == 0.0
