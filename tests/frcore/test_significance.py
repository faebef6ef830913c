"""Tests of a difference do what they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from frcore.significance import holm, mcnemar_p


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(fixed: int, broken: int) -> None:
    expected = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert mcnemar_p(fixed, broken) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_at_once() -> None:
    # 41 against 35: p = 0.57; 5 against none: 2 / 2**5
    p = mcnemar_p(np.array([41, 5, 0]), np.array([35, 0, 0]))
    np.testing.assert_allclose(p, [0.56657, 0.0625, 1], atol=5e-6)


def test_holm_by_hand() -> None:
    # sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to the one before), 0.2 * 1
    p = np.array([0.03, 0.01, np.nan, 0.2, 0.02])
    np.testing.assert_allclose(holm(p), [0.06, 0.04, np.nan, 0.2, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([])).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_keeps_the_order_and_never_lowers(p: list[float]) -> None:
    p = np.array(p)
    corrected = holm(p)
    assert ((corrected >= p) & (corrected <= 1)).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
