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


def places_by_hand(x: Predictions) -> np.ndarray:
    """Cosines of centred features to the means of true positives, standardised, by loops."""
    features = x.features["backbone"].astype(float)
    centred = [f - features.mean(axis=0) for f in features]
    unit = [f / np.linalg.norm(f) for f in centred]
    centres = []
    for k in range(x.num_classes):
        own = [u for u, y, p in zip(unit, x.labels, x.predicted, strict=True) if y == p == k]
        mean = np.mean(own, axis=0)
        centres.append(mean / np.linalg.norm(mean))
    cosines = np.array([[u @ c for c in centres] for u in unit])
    return np.array([(row - row.mean()) / row.std() for row in cosines])


def test_a_shift_by_hand(make) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    pair = []
    for _ in range(2):
        features = np.array([EAST, NORTH, WEST])[labels] + rng.normal(0, 0.4, (30, 2))
        predicted = np.where(rng.random(30) < 0.7, labels, (labels + 1) % 3)
        pair.append(make(labels, predicted, 3, features={"backbone": features}))
    a, b = pair
    table = frviz.calibration_shift(a, b)
    before, after = places_by_hand(a), places_by_hand(b)
    for k in range(3):
        fn = [i for i in range(30) if labels[i] == k != a.predicted[i]]
        fp = [i for i in range(30) if a.predicted[i] == k != labels[i]]
        row = table.loc[f"c{k}"]
        assert row[["fn", "fp"]].tolist() == [len(fn), len(fp)]
        assert row["fn_place_a"] == pytest.approx(np.mean([before[i, k] for i in fn]), abs=1e-5)
        assert row["fn_pulled"] == pytest.approx(np.mean([after[i, k] > before[i, k] for i in fn]))
        assert row["fp_place_b"] == pytest.approx(np.mean([after[i, k] for i in fp]), abs=1e-5)
        assert row["fp_pushed"] == pytest.approx(np.mean([after[i, k] < before[i, k] for i in fp]))
        back = [i for i in range(30) if labels[i] == k != b.predicted[i]]
        expected = np.mean([before[i, k] > after[i, k] for i in back])
        assert row["fn_expected"] == pytest.approx(expected)
        forth = np.mean([after[i, k] - before[i, k] for i in fn])
        swapped = np.mean([before[i, k] - after[i, k] for i in back])
        assert row["fn_gain"] == pytest.approx(forth - swapped, abs=1e-5)
    assert table.loc["all", "fn"] == table.loc["all", "fp"] == (~a.correct).sum()


def test_a_space_that_is_moved_or_stretched_as_a_whole_moves_no_clip(make) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = np.array([EAST, NORTH, WEST])[labels] + rng.normal(0, 0.5, (60, 2))
    predicted = np.where(rng.random(60) < 0.7, labels, (labels + 1) % 3)
    a, b = (
        make(labels, predicted, 3, features={"backbone": f}) for f in (features, 5 * features + 20)
    )
    row = frviz.calibration_shift(a, b).loc["all"]
    assert row["fn_place_a"] == pytest.approx(row["fn_place_b"], abs=1e-4)
    assert row["fp_place_a"] == pytest.approx(row["fp_place_b"], abs=1e-4)


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
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = np.arange(300) % 6
        pair = []
        for noise in (0.9, 0.5):
            features = np.eye(6)[labels] + rng.normal(0, noise, (300, 6))
            predicted = features.argmax(axis=1)
            pair.append(make(labels, predicted, 6, features={"backbone": features}))
        gains.append(frviz.calibration_shift(*pair).loc["all", ["fn_gain", "fp_gain"]])
    fn, fp = np.mean(gains, axis=0)
    assert fn > 0.2
    assert fp > 0
    same = frviz.calibration_shift(pair[0], pair[0]).loc["all"]
    assert same[["fn_pulled", "fn_gain"]].tolist() == [0, 0]
