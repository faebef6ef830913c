"""Tests and intervals for paired outcomes, a row a class or group at a time.

Two models see the same clips. A clip that only B gets right is fixed, one that only A gets right is
broken; the others say nothing about the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

RESAMPLES = 10_000
LEVEL = 0.95


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, np.divide(part, whole), np.nan)


def wilson(
    right: np.ndarray, clips: np.ndarray, *, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a share (Wilson, 1927), NaN where there are no clips.

    Equals `scipy.stats.binomtest(right, clips).proportion_ci(method="wilson")`.

    Args:
        right: (R,) clips that are right.
        clips: (R,) of so many.
        level: share of intervals that hold the truth.
    """
    right, clips = (np.asarray(x, dtype=np.float64) for x in (right, clips))
    z = norm.ppf((1 + level) / 2)
    p, steps = share(right, clips), share(z**2 * np.ones_like(clips), clips)
    middle = (p + steps / 2) / (1 + steps)
    half = np.sqrt(p * (1 - p) * steps + steps**2 / 4) / (1 + steps)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


@dataclass(frozen=True)
class Interval:
    """Limits of a difference, and the two-sided p of 0 by the same resampling."""

    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class RunNoise:
    """What the choice of seeds adds to the error of a difference: Student's t for each row."""

    error: np.ndarray  # (R,) standard error
    degrees: np.ndarray  # (R,) of freedom

    @classmethod
    def of(cls, models: Sequence[tuple[np.ndarray, np.ndarray]]) -> "RunNoise":
        """From the runs of each model of which there are several.

        What runs differ by is in part the chance of clips, which the bootstrap over clips has
        already: that part is taken off (a crossed design of runs and clips). Degrees of freedom
        are Welch's.

        Args:
            models: means (S, R) of a model's S runs, and the variance (R,) of such a mean that the
                clips alone give: the sum over clips of their variance between runs / clips ** 2.
        """
        parts = [
            (np.maximum(0, means.var(axis=0, ddof=1) - by_clips) / len(means), len(means) - 1)
            for means, by_clips in models
        ]
        total = sum(variance for variance, _ in parts)
        each = sum(variance**2 / degrees for variance, degrees in parts)
        least = sum(degrees for _, degrees in parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            degrees = np.where(each > 0, total**2 / each, least)
        return cls(np.sqrt(np.nan_to_num(total)), np.nan_to_num(degrees, nan=least))


def bootstrap(
    values: np.ndarray,
    counts: np.ndarray,
    *,
    seed: int,
    runs: "RunNoise | None" = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Percentile intervals of mean differences, clips resampled with replacement.

    A clip's difference takes few values, so resampling clips is drawing from a multinomial: exactly
    the same, and fast at any number of clips. One fixed and one broken clip are added (as Bonett
    and Price, 2012, do): without them few clips give intervals that are too short, and a row in
    which nothing changed one of length 0.

    Args:
        values: (V,) the values a clip's difference takes, between -1 and 1.
        counts: (R, V) clips of each row with each value.
        seed: of the resampling.
        runs: what another seed of the models would change, where there are several runs.
        level: share of intervals that hold the truth.
        resamples: draws.

    Returns:
        Limits and p, each (R,); NaN for a row without clips.
    """
    rng = np.random.default_rng(seed)
    clips = counts.sum(axis=1)
    values, kind = np.unique(np.append(values, (-1.0, 1.0)), return_inverse=True)
    padded = np.zeros((len(counts), len(values)))
    for column, added in zip(kind, [*counts.T, 1, 1], strict=True):
        padded[:, column] += added
    low, high, p = (np.full(len(counts), np.nan) for _ in range(3))
    for row in np.flatnonzero(clips):  # by row: all draws at once would be gigabytes
        size = int(clips[row]) + 2
        drawn = rng.multinomial(size, padded[row] / size, size=resamples) @ values / size
        if runs is not None:
            drawn = drawn + runs.error[row] * rng.standard_t(runs.degrees[row], size=resamples)
        low[row], high[row] = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        below, above = (drawn <= 0).sum(), (drawn >= 0).sum()
        p[row] = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    return Interval(low, high, p)


def shown_p(p: float) -> str:
    """A p-value as text: "p = 0.57", "p = 3e-05"."""
    return f"p = {p:.2f}" if p >= 0.01 else f"p = {p:.1g}"
