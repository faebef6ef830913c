"""Are 80 % of the clips right of which a model is 80 % sure? Probabilities against frequencies."""

import logging

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.sources import Source, Split, marked, predictions_of
from frviz.tables.statistics import share

log = logging.getLogger(__name__)

TEMPERATURES = (0.05, 20.0)  # the range that is searched


def reliability(x: Source, *, bins: int = 15, temperature: float = 1.0) -> pd.DataFrame:
    """Confidence against accuracy in bins of equal width.

    Args:
        x: as in `frviz.confusion`; it needs logits.
        bins: over confidences from 0 to 1.
        temperature: logits are divided by it, such as `frviz.fit_temperature(run)`.

    Returns:
        A row a bin: `low`, `high`, `clips`, `confidence` and `accuracy` (means; NaN where there is
        no clip). `attrs`: `ece` (expected calibration error: mean gap, weighted by clips; Guo et
        al., ICML 2017), `nll` (mean negative log-likelihood), `brier`, `temperature`.

    Raises:
        UserError: hard predictions only, or an impossible number.
    """
    predictions = _with_logits(x)
    if not isinstance(bins, int) or bins < 1 or not temperature > 0:
        raise UserError(
            f"bins must be a whole number from 1, temperature above 0; got {bins}, {temperature}."
        )
    log_p = _log_probabilities(predictions, temperature)
    p = np.exp(log_p)
    confidence = p.max(axis=1) if len(p) else np.zeros(0)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    mean, right = (
        share(np.bincount(place, values, bins), count)
        for values in (confidence, predictions.correct)
    )
    edges = np.linspace(0, 1, bins + 1)
    table = pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "clips": count,
            "confidence": mean,
            "accuracy": right,
        }
    )
    rows = np.arange(len(p))
    true = np.zeros_like(p)
    true[rows, predictions.labels] = 1
    some = len(p) > 0
    table.attrs = {
        "ece": float(np.nansum(count * np.abs(mean - right)) / len(p)) if some else np.nan,
        "nll": float(-log_p[rows, predictions.labels].mean()) if some else np.nan,
        "brier": float(((p - true) ** 2).sum(axis=1).mean()) if some else np.nan,
        "temperature": float(temperature),
    }
    return marked(table, predictions)


def fit_temperature(x: Source, *, split: Split = "val") -> float:
    """The temperature at which the clips' classes are most likely (Guo et al., ICML 2017).

    Args:
        x: a run, whose `split` is predicted, or predictions of clips that are not test clips.
        split: "val": a temperature is fitted on held-out clips, never on test.

    Raises:
        UserError: hard predictions only, no clip, test clips, or a run without that split.
    """
    predictions = _with_logits(x, split)
    if not len(predictions):
        raise UserError("A temperature cannot be fitted to no clip.")
    if predictions.metadata.get("split") == "test":
        raise UserError(
            "These are test clips: a temperature is fitted on others. Give a run that has "
            "validation clips, or predictions of such (metadata={'split': 'val'})."
        )

    def loss(log_temperature: float) -> float:
        log_p = _log_probabilities(predictions, np.exp(log_temperature))
        return -log_p[np.arange(len(log_p)), predictions.labels].mean()

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    temperature = float(np.exp(found.x))
    if not 1.01 * TEMPERATURES[0] < temperature < 0.99 * TEMPERATURES[1]:
        log.warning("The temperature is at the limit of its range (%g to %g).", *TEMPERATURES)
    return temperature


def _with_logits(x: Source, split: Split = "test") -> Predictions:
    predictions = predictions_of(x, split=split)
    if predictions.logits is None:
        raise UserError("Reliability needs scores; these are hard predictions.")
    return predictions


def _log_probabilities(predictions: Predictions, temperature: float) -> np.ndarray:
    return log_softmax(predictions.logits.astype(np.float64) / temperature, axis=1)
