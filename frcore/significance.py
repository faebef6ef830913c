"""Tests of whether a difference is more than chance, for whoever compares models.

Two models see the same clips. A clip that only the second gets right is fixed, one that only the
first gets right is broken; the others say nothing about the difference.
"""

import numpy as np
from scipy.stats import binom


def mcnemar_p(fixed: np.ndarray | int, broken: np.ndarray | int) -> np.ndarray:
    """Two-sided p of the exact McNemar test: fixed clips are as likely as broken ones.

    Equals `scipy.stats.binomtest(fixed, fixed + broken).pvalue`; 1 where nothing changed.
    """
    fixed, broken = np.asarray(fixed), np.asarray(broken)
    tail = binom.cdf(np.minimum(fixed, broken), fixed + broken, 0.5)
    return np.minimum(1.0, 2 * tail)


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for their number (Holm, 1979); NaN stays, and does not count."""
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected
