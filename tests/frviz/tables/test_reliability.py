"""Probabilities against frequencies: by hand, and on a model that knows what it does not know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions


def scored(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    ids = tuple(f"s{n}" for n in range(len(labels)))
    names = tuple(f"c{k}" for k in range(logits.shape[1]))
    return Predictions(ids, labels, class_names=names, logits=logits)


@pytest.fixture
def honest() -> Predictions:
    """Labels drawn from the model's own probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 4))
    p = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    labels = (rng.random((6000, 1)) < p.cumsum(axis=1)).argmax(axis=1)
    return scored(logits, labels)


def test_bins_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    table = frviz.reliability(scored(np.log(p), np.array([0, 1, 1, 0])), bins=2)
    assert table["clips"].tolist() == [0, 4]
    assert table.loc[1, ["confidence", "accuracy"]].tolist() == pytest.approx([0.7, 0.75])
    assert np.isnan(table.loc[0, "accuracy"])
    assert table.attrs["ece"] == pytest.approx(0.05)
    assert table.attrs["nll"] == pytest.approx(-np.log([0.9, 0.2, 0.6, 0.5]).mean(), rel=1e-5)
    brier = np.mean([2 * 0.1**2, 2 * 0.8**2, 2 * 0.4**2, 2 * 0.5**2])
    assert table.attrs["brier"] == pytest.approx(brier, rel=1e-5)


def test_an_honest_model_is_reliable_and_an_overconfident_one_is_mended(honest) -> None:
    assert frviz.reliability(honest).attrs["ece"] < 0.02
    assert frviz.fit_temperature(honest) == pytest.approx(1, abs=0.05)
    loud = scored(3 * honest.logits, honest.labels)
    assert frviz.reliability(loud).attrs["ece"] > 0.1
    found = frviz.fit_temperature(loud)
    assert found == pytest.approx(3, rel=0.05)
    mended = frviz.reliability(loud, temperature=found)
    assert mended.attrs["ece"] < 0.02
    assert mended["clips"].sum() == 6000


def test_a_temperature_is_the_best_of_a_grid(honest) -> None:
    quiet = scored(0.4 * honest.logits, honest.labels)
    found = frviz.fit_temperature(quiet)
    best = frviz.reliability(quiet, temperature=found).attrs["nll"]
    for other in (0.8 * found, 1.25 * found):
        assert frviz.reliability(quiet, temperature=other).attrs["nll"] > best


def test_a_temperature_at_its_limit_is_said(honest, caplog) -> None:
    always_right = scored(honest.logits, honest.logits.argmax(axis=1))
    assert frviz.fit_temperature(always_right) < 0.06
    assert "limit of its range" in caplog.text


def test_what_cannot_be_done_is_said(make, honest) -> None:
    with pytest.raises(UserError, match="hard predictions"):
        frviz.reliability(make([0], [0]))
    with pytest.raises(UserError, match="bins must be"):
        frviz.reliability(honest, bins=0)
    with pytest.raises(UserError, match="above 0"):
        frviz.reliability(honest, temperature=-1.0)
    with pytest.raises(UserError, match="whole number"):
        frviz.reliability(honest, bins=2.5)
    with pytest.raises(UserError, match="These are test clips"):
        frviz.fit_temperature(replace(honest, metadata={"split": "test"}))
    with pytest.raises(UserError, match="no clip"):
        frviz.fit_temperature(honest.select([]))
    assert np.isnan(frviz.reliability(honest.select([])).attrs["ece"])
