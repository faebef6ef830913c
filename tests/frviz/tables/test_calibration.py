"""FN and FP clips against prototypes: by hand, and without favour for the other model."""

import numpy as np
import pytest

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions

SPACE = "fin.spatial"
EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
HALF = (np.sqrt(0.5), np.sqrt(0.5))  # cosine 0.707 to east and to north


@pytest.fixture
def model(make) -> Predictions:
    """Prototypes east, north, west. Clip 2 (class 0) lies north and is taken for class 1."""
    return make(
        [0, 0, 0, 1, 2], [0, 0, 1, 1, 2],
        features={SPACE: np.array([EAST, HALF, NORTH, NORTH, WEST])},
        prototypes={SPACE: np.array([EAST, NORTH, WEST]) * 7},
    )  # fmt: skip


def test_cosines_by_hand(model) -> None:
    table = frviz.calibration(model)
    c0, c1, c2 = (table.loc[(SPACE, name)] for name in ("c0", "c1", "c2"))
    assert c0[["tp", "fn", "fp"]].tolist() == [2, 1, 0]
    assert c0["tp_own"] == pytest.approx((1 + HALF[0]) / 2)
    assert c0["tp_rival"] == pytest.approx((0 + HALF[0]) / 2)  # the nearest other: north
    assert c0[["fn_own", "fn_rival"]].tolist() == pytest.approx([0, 1])
    assert np.isnan(c0["fp_own"])
    assert c1[["tp", "fn", "fp"]].tolist() == [1, 0, 1]
    assert c1[["fp_own", "fp_rival"]].tolist() == pytest.approx([1, 0])  # its own wrong prototype
    assert c2["tp_rival"] == pytest.approx(0)
    assert list(table.columns[:3]) == ["tp", "fn", "fp"]


def test_what_has_no_prototypes_is_said(model, make) -> None:
    with pytest.raises(UserError, match="no FR Head"):
        frviz.calibration(make([0], [0]))
    with pytest.raises(
        UserError, match=r"No prototypes and features in space 'low.spatial'; there are: fin.sp"
    ):
        frviz.calibration(model, spaces="low.spatial")


def test_a_shift_by_hand(make) -> None:
    labels = [0, 0, 1, 1]

    def with_clip(direction: tuple[float, float], said: int) -> Predictions:
        features = np.array([EAST, direction, NORTH, NORTH])
        return make(labels, [0, said, 1, 1], features={"backbone": features})

    a, b = with_clip(NORTH, 1), with_clip(HALF, 0)
    table = frviz.calibration_shift(a, b)
    # A: centres are east and north; the clip's cosines are 0 and 1, their mean 1/2.
    # B: the centre of class 0 lies between east and half: cosine of 22.5 degrees, 0.707 to north
    mean = (np.cos(np.pi / 8) + HALF[0]) / 2
    row = table.loc["c0"]
    assert row[["fn", "fn_pulled"]].tolist() == [1, 1]
    places = [-0.5, np.cos(np.pi / 8) - mean]
    assert row[["fn_place_a", "fn_place_b"]].tolist() == pytest.approx(places, abs=1e-6)
    assert np.isnan(row["fn_expected"])  # B makes no mistake
    assert row["fp"] == 0
    row = table.loc["c1"]
    assert row[["fp", "fp_pushed"]].tolist() == [1, 1]
    places = [0.5, HALF[0] - mean]
    assert row[["fp_place_a", "fp_place_b"]].tolist() == pytest.approx(places, abs=1e-6)
    assert table.loc["all", ["fn", "fp"]].tolist() == [1, 1]


def test_a_pull_is_no_push(make) -> None:
    """B moves the clip toward its class (east) while it stays as near to the wrong one (north)."""
    labels, predicted = [0, 0, 1, 2], [0, 1, 1, 2]
    prototypes = {"backbone": np.eye(3)}

    def with_clip(x: float) -> Predictions:
        features = np.array([[1, 0, 0], [x, 0.7, np.sqrt(0.51 - x * x)], [0, 1, 0], [0, 0, 1]])
        fields = {"features": {"backbone": features}, "prototypes": prototypes}
        return make(labels, predicted, **fields)

    # cosines to east, north, up: (0.1, 0.7, 0.707) and (0.5, 0.7, 0.51), of mean 0.502 and 0.570
    table = frviz.calibration_shift(with_clip(0.1), with_clip(0.5))
    assert table.loc["c0", "fn_pulled"] == 1
    assert table.loc["c1", "fp_pushed"] == 1  # off the mean, which rose
    back = frviz.calibration_shift(with_clip(0.5), with_clip(0.1))
    assert back.loc["c0", "fn_pulled"] == 0
    # (0.6, 0.7, 0.387): the mean falls below that of (0.5, ...), so north came nearer
    nearer = frviz.calibration_shift(with_clip(0.5), with_clip(0.6))
    assert nearer.loc["c0", "fn_pulled"] == 1
    assert nearer.loc["c1", "fp_pushed"] == 0


def test_no_shift_is_seen_between_equals(make) -> None:
    """Two models of one quality, each with noise of its own: A's mistakes lie better in B."""
    gains, pulled = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = np.arange(300) % 3
        centres = np.array([EAST, NORTH, WEST])
        shared = rng.normal(0, 0.5, (300, 2))
        pair = []
        for _ in range(2):
            features = centres[labels] + shared + rng.normal(0, 0.3, (300, 2))
            unit = features / np.linalg.norm(features, axis=1, keepdims=True)
            predicted = (unit @ centres.T).argmax(axis=1)
            pair.append(make(labels, predicted, 3, features={"backbone": features}))
        row = frviz.calibration_shift(*pair).loc["all"]
        gains.append(row["fn_gain"])
        pulled.append(row["fn_pulled"])
    assert abs(np.mean(gains)) < 3 * np.std(gains, ddof=1) / np.sqrt(len(gains))
    assert np.mean(pulled) > 0.55  # what choice alone gives


def test_a_true_shift_is_seen(make) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    centres = np.array([EAST, NORTH, WEST])
    pair = []
    for noise in (0.9, 0.5):
        features = centres[labels] + rng.normal(0, noise, (300, 2))
        predicted = (features @ centres.T).argmax(axis=1)
        pair.append(make(labels, predicted, 3, features={"backbone": features}))
    row = frviz.calibration_shift(*pair).loc["all"]
    assert row["fn_gain"] > 0.1
    assert row["fp_gain"] > 0.1
    same = frviz.calibration_shift(pair[0], pair[0]).loc["all"]
    assert same[["fn_pulled", "fn_gain"]].tolist() == [0, 0]
