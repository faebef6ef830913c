"""Maps: the same input gives the same map, groups are chosen, two models share a layout."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frviz
from frcore.errors import UserError
from frviz.explorer.maps import encode_map
from frviz.tables import layout
from frviz.tables.embedding import class_centres

CLASSES = 4


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRVIZ_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def model(make):
    """Clips around one direction a class; class 1 is taken for class 0 at times."""

    def drawn(spread: float = 0.15, seed: int = 0, n: int = 120, prototypes: bool = False):
        rng = np.random.default_rng(seed)
        centres = np.linalg.qr(np.random.default_rng(9).normal(size=(16, 16)))[0][:CLASSES]
        labels = np.arange(n) % CLASSES
        features = centres[labels] + spread * rng.normal(size=(n, 16))
        predicted = np.where((labels == 1) & (np.arange(n) % 3 == 0), 0, labels)
        extra = {"prototypes": {"fin.spatial": centres}} if prototypes else {}
        return make(
            labels, predicted, CLASSES, **extra,
            features={"backbone": features, "fin.spatial": 5 * features},
        )  # fmt: skip

    return drawn


# UMAP compiles itself first, some 20 s
@pytest.mark.parametrize("method", ["pca", "tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_map_separates_what_is_separate_and_is_reproducible(model, cache, method) -> None:
    x = model()
    table = frviz.embed(x, method=method)
    assert list(table.columns) == ["x", "y", "kind", "class", "predicted", "correct"]
    assert list(table.index[:120]) == list(x.sample_ids)
    assert table["kind"].value_counts().to_dict() == {"clip": 120, "mean of true positives": 4}
    positions = table[["x", "y"]].to_numpy()
    np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-9)
    assert (positions**2).sum(axis=1).mean() == pytest.approx(1)
    quality = frviz.map_quality(x, table)
    assert quality["knn_space"] > 0.95
    assert quality["knn_map"] > (0.8 if method == "pca" else 0.95)
    for file in cache.iterdir():
        file.unlink()
    again = frviz.embed(x, method=method)[["x", "y"]].to_numpy()
    np.testing.assert_array_equal(positions, again)


def test_fault_25_a_map_is_kept_and_a_damaged_one_made_again(model, cache, monkeypatch) -> None:
    x = model()
    first = frviz.embed(x, method="tsne")
    (kept,) = cache.iterdir()

    def never(*_):
        raise AssertionError("laid out again")

    monkeypatch.setattr(layout, "_principal", never)
    np.testing.assert_array_equal(frviz.embed(x, method="tsne")["x"], first["x"])
    for other in ({"seed": 1}, {"space": "fin.spatial"}, {"classes": [0, 1]}):
        if other != {"space": "fin.spatial"}:  # the same directions: the same map
            with pytest.raises(AssertionError):
                frviz.embed(x, method="tsne", **other)
    monkeypatch.undo()
    monkeypatch.setenv("FRVIZ_CACHE", str(cache))
    whole = kept.read_bytes()
    flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in (0, 40, len(whole) - 1)]
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (2**60, 2)}
    )
    for damage in (b"", huge.getvalue(), whole[: len(whole) // 2], whole[:-8], *flipped):
        kept.write_bytes(damage)
        pd.testing.assert_frame_equal(frviz.embed(x, method="tsne"), first)


def test_a_cache_that_cannot_be_written_is_no_error(model, tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FRVIZ_CACHE", str(tmp_path / "file"))
    assert len(frviz.embed(model(), method="pca")) == 124
    assert "not kept" in caplog.text


def test_classes_and_groups(model) -> None:
    x = model()
    two = frviz.embed(x, classes=["c2", 3], method="pca")
    assert set(two["class"]) == {"c2", "c3"}
    group = frviz.embed(x, group="c1", method="pca")
    assert set(group["class"]) == {"c1", "c0"}
    with pytest.raises(UserError, match="Did you mean 'c1'"):
        frviz.embed(x, group="c1x")
    assert set(frviz.embed(x, classes=2, method="pca")["class"]) == {"c2"}
    for wrong in ([0], 4, None):
        with pytest.raises(UserError, match="Unknown class"):
            frviz.embed(x, classes=[wrong])
    with pytest.raises(UserError, match="not both"):
        frviz.embed(x, group=1, classes=[1])


def test_prototypes_belong_to_their_space(model) -> None:
    x = model(prototypes=True)
    assert "prototype" in set(frviz.embed(x, space="fin.spatial", method="pca")["kind"])
    kind, centres = class_centres(x, "backbone")
    assert kind == "mean of true positives"
    unit = x.features["backbone"] / np.linalg.norm(x.features["backbone"], axis=1, keepdims=True)
    np.testing.assert_allclose(centres[1], unit[(x.labels == 1) & x.correct].mean(0), atol=1e-6)
    assert class_centres(x, "fin.spatial")[0] == "prototype"


def test_what_cannot_be_mapped_is_said(model, make) -> None:
    with pytest.raises(UserError, match=r"space 'high.spatial'; these .* have: backbone, fin.spat"):
        frviz.embed(model(), space="high.spatial")
    with pytest.raises(UserError, match="Did you mean 'tsne'"):
        frviz.embed(model(), method="tnse")
    assert len(frviz.embed(model().select([]), method="tsne")) == 0
    few = frviz.embed(model(n=5), method="tsne")  # too few for t-SNE
    assert few.attrs["method"] == "pca"


@pytest.mark.parametrize("symmetric", [False, True])
def test_two_models_share_a_layout(model, symmetric) -> None:
    a, b = model(), model(seed=1)
    shuffled = b.select(np.array(b.sample_ids)[::-1])
    table = frviz.embed_pair(a, shuffled, method="tsne", symmetric=symmetric)
    clips = table[table["kind"] == "clip"]
    assert list(clips.index) == list(a.sample_ids)
    assert set(clips["outcome"]) == {"both right", "both wrong"}
    apart = np.hypot(clips["b_x"] - clips["a_x"], clips["b_y"] - clips["a_y"])
    np.testing.assert_allclose(clips["displacement"], apart)
    assert table.attrs["displacement"] == pytest.approx(np.median(apart))
    # noise within a class differs, classes keep their place: far below unrelated maps (above 1)
    assert table.attrs["displacement"] < 0.5
    assert 0 < table.attrs["floor"] < 0.5


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_centre_of_one_model_alone_is_kept_there(model, make, symmetric) -> None:
    b = model()
    none_right = np.where(b.labels == 2, 3, b.predicted)
    a = make(b.labels, none_right, CLASSES, features=dict(b.features))
    table = frviz.embed_pair(a, b, method="pca", symmetric=symmetric)
    stars = table[table["kind"] != "clip"].set_index("class")
    assert list(stars.index) == ["c0", "c1", "c2", "c3"]
    assert stars["a_x"].isna().tolist() == [False, False, True, False]
    assert np.isfinite(stars[["b_x", "b_y"]]).all(axis=None)
    # amid the clips of its class, all of which B has right: nearer to them than to any other's
    clips = table[table["kind"] == "clip"]
    centres = clips.groupby("class")[["b_x", "b_y"]].mean()
    apart = np.linalg.norm(centres - stars.loc["c2", ["b_x", "b_y"]].to_numpy(float), axis=1)
    assert centres.index[apart.argmin()] == "c2"
    assert np.isfinite([table.attrs["displacement"], table.attrs["floor"]]).all()
    # the other way round: A's map, and what the explorer shows, which needs both places
    table = frviz.embed_pair(b, a, method="pca", symmetric=symmetric)
    assert table.loc[table["class"] == "c2", "b_x"].isna().sum() == 1
    subject = frviz.compare(b, a)._subject()
    entry, arrays = encode_map(subject, table)
    assert entry["stars"]["classes"] == [0, 1, 3]
    assert arrays["map0_a"].shape == (120, 2) and arrays["star0_b"].shape == (3, 2)
    assert np.isfinite(entry["arrays"]["bounds"]).all()


def test_outcomes_by_hand(model, make) -> None:
    a = model()
    predicted = a.predicted.copy()
    predicted[:2] = [0, 3]  # clip 1 (class 1) is broken, clip 0 stays right
    predicted[9] = 1  # clip 9 (class 1) was taken for 0: fixed
    b = make(a.labels, predicted, CLASSES, features=dict(a.features))
    table = frviz.embed_pair(a, b, method="pca")
    assert table["outcome"].iloc[[0, 1, 9, 21]].tolist() == [
        "both right", "broken", "fixed", "both wrong",
    ]  # fmt: skip


def test_neighbourhoods_by_hand(make) -> None:
    angles = np.deg2rad([0, 10, 25, 180, 200])
    a = make([0] * 5, [0] * 5, features={"backbone": np.c_[np.cos(angles), np.sin(angles)]})
    moved = np.deg2rad([0, 10, 190, 180, 200])
    b = make([0] * 5, [0] * 5, features={"backbone": 3 * np.c_[np.cos(moved), np.sin(moved)]})
    overlap = frviz.neighbourhood_overlap(a, b, neighbours=1)
    # nearest in a: 1, 0, 1, 4, 3; in b: 1, 0, (3 or 4), 2, 2
    assert overlap.tolist() == [1, 1, 0, 0, 0]
    assert frviz.neighbourhood_overlap(a, a, neighbours=2).tolist() == [1] * 5
    with pytest.raises(UserError, match="2 clips"):
        frviz.neighbourhood_overlap(a.select(["s00000"]), b.select(["s00000"]))


def test_compactness_by_hand(make) -> None:
    directions = np.array([[1, 0], [1, 0], [0, 1], [0, -1], [-1, 0]])
    x = make([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], features={"backbone": directions})
    table = frviz.compactness(x)
    # class 0: mean (1, 0); class 1: mean (0, 0), its clips 1 away. Anchor c0 with c1:
    assert table.loc["c0", "members"] == ("c0", "c1")
    assert table.loc["c0", ["within", "between", "ratio"]].tolist() == pytest.approx([0.5, 1, 0.5])
    assert np.isnan(table.loc["c2", "between"])


def test_quality_of_a_random_map_is_poor(model) -> None:
    x = model()
    table = frviz.embed(x, method="tsne")
    good = frviz.map_quality(x, table)
    table[["x", "y"]] = np.random.default_rng(0).normal(size=(len(table), 2))
    random = frviz.map_quality(x, table)
    assert good["trustworthiness"] > 0.9 > 0.6 > random["trustworthiness"]
    assert good["continuity"] > 0.9 > 0.6 > random["continuity"]
    assert random["knn_map"] < 0.5
    assert random["silhouette_map"] < 0.1 < good["silhouette_map"]
    assert good["knn_space"] == random["knn_space"]


def test_a_seed_is_a_whole_number(model) -> None:
    x = model()
    for seed in (-1, 0.5, None):
        with pytest.raises(UserError, match="seed: expected a whole number"):
            frviz.embed(x, method="pca", seed=seed)
        with pytest.raises(UserError, match="seed: expected a whole number"):
            frviz.embed_pair(x, x, method="pca", seed=seed)
    pd.testing.assert_frame_equal(
        frviz.embed(x, method="pca", seed=np.int64(3)), frviz.embed(x, method="pca", seed=3)
    )


def test_fault_25_the_map_of_another_model_is_refused(model) -> None:
    a, b = model(), model(seed=1)
    with pytest.raises(UserError, match="not made of these predictions"):
        frviz.map_quality(a, frviz.embed(b, method="pca"))
    with pytest.raises(UserError, match="not made of these predictions"):
        frviz.map_quality(b, frviz.embed_pair(a, b, method="pca"), side="a")


def test_both_maps_of_a_pair_are_measured(model) -> None:
    a, b = model(), model(spread=0.6, seed=1)
    table = frviz.embed_pair(a, b, method="tsne")
    side_a, side_b = (frviz.map_quality(x, table, side=s) for x, s in ((a, "a"), (b, "b")))
    assert side_a["knn_map"] > side_b["knn_map"]
    assert side_b["trustworthiness"] > 0.8


def test_a_sample_is_balanced_and_seeded(model) -> None:
    from frviz.tables.quality import _sample

    labels = np.repeat([0, 1, 2], [500, 30, 5])
    rows = _sample(labels, 60, 0)
    assert np.bincount(labels[rows]).tolist() == [28, 27, 5] or (
        np.bincount(labels[rows]).tolist() == [27, 28, 5]
    )
    np.testing.assert_array_equal(rows, _sample(labels, 60, 0))
    assert (rows != _sample(labels, 60, 1)).any()
