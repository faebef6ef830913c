"""Tests and intervals do what they claim."""

import numpy as np
import pytest

from frcore.significance import mcnemar_p
from frviz.tables.statistics import RunNoise, bootstrap, shown_p

VALUES = np.array([-1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("clips", "fixed", "broken"), [(24, 0.10, 0.05), (276, 0.05, 0.03), (464, 0.09, 0.07)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    clips: int, fixed: float, broken: float
) -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(clips, [broken, 1 - fixed - broken, fixed], size=1000)
    interval = bootstrap(VALUES, counts, seed=0, resamples=1000)
    truth = fixed - broken
    held = ((interval.low <= truth) & (truth <= interval.high)).mean()
    assert 0.93 <= held <= 0.985  # 0.95 +- three standard errors; few clips err on the safe side


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.12])  # of seeds; the last is 2 points of accuracy
@pytest.mark.parametrize("runs", [3, 5])
def test_intervals_over_seeds_hold_the_truth(spread: float, runs: int) -> None:
    """Runs differ by their seed besides the clips."""
    rng = np.random.default_rng(2)
    held, clips_only, trials, clips = 0, 0, 300, 400
    for _ in range(trials):
        easy = rng.normal(1.2, 1.5, clips)  # what all runs share
        right = [
            (easy + rng.normal(0, 1.0, (runs, clips)) + rng.normal(0, spread, (runs, 1))) > 0
            for _ in range(2)
        ]
        steps = right[1].sum(0) - right[0].sum(0)
        counts = np.bincount(steps + runs, minlength=2 * runs + 1)[None]
        values = np.arange(-runs, runs + 1) / runs
        noise = RunNoise.of(
            [
                (r.mean(axis=1)[:, None], r.var(axis=0, ddof=1).sum(keepdims=True) / clips**2)
                for r in right
            ]
        )
        both = bootstrap(values, counts, seed=0, resamples=500, runs=noise)
        alone = bootstrap(values, counts, seed=0, resamples=500)
        held += both.low[0] <= 0 <= both.high[0]
        clips_only += alone.low[0] <= 0 <= alone.high[0]
    assert 0.92 <= held / trials <= 0.99, held / trials
    if spread == 0.12:
        assert clips_only / trials < 0.9  # the reason for the seeds to be in it


def test_run_noise_by_hand() -> None:
    a = np.array([[0.5], [0.7]]), np.array([0.005])  # variance 0.02 less 0.005, over two runs
    b = np.array([[0.6], [0.6], [0.9]]), np.array([0.0])  # variance 0.03 over three runs
    noise = RunNoise.of([a, b])
    assert noise.error[0] == pytest.approx(np.sqrt(0.0075 + 0.01))
    assert noise.degrees[0] == pytest.approx(0.0175**2 / (0.0075**2 / 1 + 0.01**2 / 2))
    none = RunNoise.of([(np.array([[0.5], [0.5]]), np.array([0.1]))])
    assert (none.error[0], none.degrees[0]) == (0, 1)


def test_the_bootstrap_is_that_of_the_clips_themselves() -> None:
    """Against resampling an array of clips, to which one fixed and one broken clip were added."""
    clips = np.repeat(VALUES, [30, 380, 54])
    padded = np.append(clips, [1.0, -1.0])
    rng = np.random.default_rng(3)
    means = rng.choice(padded, (20_000, len(padded))).mean(axis=1)
    interval = bootstrap(VALUES, np.array([[30, 380, 54]]), seed=0, resamples=20_000)
    np.testing.assert_allclose(
        [interval.low[0], interval.high[0]], np.quantile(means, [0.025, 0.975]), atol=1.1 / 466
    )


def test_the_seed_decides_and_no_clips_are_unknown() -> None:
    counts = np.array([[3, 10, 5], [0, 0, 0], [0, 8, 0]])
    one, same, other = (bootstrap(VALUES, counts, seed=s, resamples=200) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.low, same.low)
    assert one.low[0] != other.low[0] or one.high[0] != other.high[0]
    assert np.isnan([one.low[1], one.high[1], one.p[1]]).all()
    assert one.low[2] < 0 < one.high[2]  # eight clips on which nothing changed prove little
    assert one.p[2] == 1


def test_the_bootstrap_p_agrees_with_the_exact_test() -> None:
    counts = np.array([[35, 388, 41], [20, 400, 44]])
    exact = mcnemar_p(np.array([41, 44]), np.array([35, 20]))
    np.testing.assert_allclose(bootstrap(VALUES, counts, seed=0).p, exact, atol=0.1)


def test_p_as_text() -> None:
    assert [shown_p(p) for p in (0.566, 0.01, 0.003, 3.1e-5)] == [
        "p = 0.57", "p = 0.01", "p = 0.003", "p = 3e-05",
    ]  # fmt: skip
