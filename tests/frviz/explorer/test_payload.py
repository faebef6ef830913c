"""The explorer's payload: every number re-derived by hand, and what is missing is said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.explorer import history as history_module
from frviz.explorer.history import history_of, run_of
from frviz.explorer.maps import check_maps, encode_map, first_maps, make_map
from frviz.explorer.payload import explorer_payload, for_page
from frviz.explorer.payload_format import unpack
from frviz.explorer.subject import Subject, one_model
from frviz.tables.groups import NO_GROUP
from frviz.tables.statistics import wilson

pytestmark = pytest.mark.usefixtures("own_folders")
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e"


def of_pair(a, b, **options) -> Subject:
    return frviz.compare(a, b, **options)._subject()


def read(subject: Subject, maps=()):
    return unpack(explorer_payload(subject, maps))


def test_clips_by_hand() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    x = Predictions(("p", "q"), np.array([0, 1]), class_names=("x", "y", "z"), logits=logits,
                    copies=np.array([False, True]))  # fmt: skip
    header, arrays = read(one_model(x, name="mine"))
    assert (header["kind"], header["names"], header["ids"]) == ("explorer", ["mine"], ["p", "q"])
    assert header["classes"] == ["x", "y", "z"]
    assert header["accuracy"] == [0.5]
    assert arrays["label"].tolist() == [0, 1]
    assert arrays["predicted_a"].tolist() == [0, 2]
    assert arrays["copy"].tolist() == [0, 1]
    np.testing.assert_allclose(arrays["p_true_a"] / 65535, [0.7, 0.3], atol=1e-5)
    assert arrays["top_class_a"].tolist() == [[0, 1, 2], [2, 1, 0]]
    np.testing.assert_allclose(arrays["top_p_a"] / 65535, [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]],
                               atol=1e-5)  # fmt: skip
    assert {"predicted_b", "cell_p", "status_a", "spark_a"} & set(arrays) == set()


def test_equal_scores_are_listed_as_predicted(scored) -> None:
    flat = Predictions(("p",), np.array([6]), class_names=tuple("abcdefgh"), logits=np.ones((1, 8)))
    _, arrays = read(one_model(flat))
    assert arrays["top_class_a"].tolist() == [[0, 1, 2, 3, 4]]
    assert arrays["predicted_a"].tolist() == [0]


def test_groups_of_one_model_by_hand(make) -> None:
    # "c0" goes to c1 twice and to c2 once; nothing else is wrong.
    x = make([0] * 5 + [1] * 3 + [2, 3], [0, 0, 1, 1, 2, 1, 1, 1, 2, 3])
    header, _ = read(one_model(x))
    group = next(g for g in header["groups"] if g["anchor"] == 0)
    assert group["members"] == [0, 1, 2]
    assert (group["clips"], group["a"]) == (9, pytest.approx(6 / 9))
    limits = binomtest(6, 9).proportion_ci(method="wilson")
    assert (group["low"], group["high"]) == pytest.approx((limits.low, limits.high))
    assert {group[key] for key in ("b", "difference", "p_holm", "raw")} == {None}
    assert "its own mistakes" in header["groups_note"]
    assert [g["anchor"] for g in header["groups"]] == [0]  # the others are never confused


def test_wilson_is_that_of_scipy() -> None:
    low, high = wilson([0, 3, 10, 0], [10, 10, 10, 0])
    for right, *limits in zip([0, 3, 10], low, high, strict=False):
        assert limits == pytest.approx(
            list(binomtest(right, 10).proportion_ci(method="wilson")), abs=1e-12
        )
    assert np.isnan([low[3], high[3]]).all()


def test_a_reference_chooses_the_groups(make) -> None:
    x, other = make([0, 0, 1, 2], [0, 1, 1, 2]), make([0, 0, 1, 2], [2, 2, 1, 2])
    header, _ = read(one_model(x, reference=other))
    assert next(g for g in header["groups"] if g["anchor"] == 0)["members"] == [0, 2]
    assert "the reference" in header["groups_note"]


def test_a_pair_says_what_the_comparison_says(pair) -> None:
    found = frviz.compare(*pair, names=("plain", "FR"))
    header, arrays = read(found._subject())
    assert header["names"] == ["plain", "FR"]
    assert header["verdict"] == found.verdict
    assert found.reference_note in header["groups_note"]
    for group, (anchor, row) in zip(header["groups"], found.groups.iterrows(), strict=True):
        assert header["classes"][group["anchor"]] == anchor
        assert tuple(header["classes"][k] for k in group["members"]) == row["members"]
        for key, column in (("a", "a"), ("b", "b"), ("low", "low"), ("high", "high"),
                            ("difference", "difference"), ("raw", "raw_difference")):  # fmt: skip
            assert group[key] == pytest.approx(row[column])
        assert (group["p_holm"] is None) == np.isnan(row["p_holm"])
    cells = found.cells
    assert arrays["cell_true"].tolist() == cells["true"].tolist()
    assert arrays["cell_pred"].tolist() == cells["predicted"].tolist()
    np.testing.assert_allclose(arrays["cell_p"], cells["p"], rtol=1e-6)
    np.testing.assert_allclose(arrays["cell_holm"], cells["p_holm"], rtol=1e-6)


def test_classes_are_ordered_by_the_confusions_of_both(make) -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    a = [0] * 10 + [1] * 10 + [2] * 5 + [0] * 5 + [3] * 10  # A takes c2 for c0
    b = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 5 + [1] * 5  # B takes c3 for c1
    header, _ = read(of_pair(make(labels, a), make(labels, b)))
    order, cluster = header["order"], header["cluster"]
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert cluster[0] == cluster[2] != cluster[1] == cluster[3]
    assert [cluster[k] for k in order] == sorted(cluster)


def test_clusters_of_many_classes_are_few_enough_to_read(make) -> None:
    clips, k = 300, 40
    labels = np.repeat(np.arange(k), clips)
    predicted = labels.copy()
    for cls in range(k):  # 3 % of either class of a pair are taken for the other
        predicted[cls * clips : cls * clips + 9] = cls ^ 1
    header, _ = read(of_pair(make(labels, predicted, k), make(labels, predicted, k)))
    assert header["cluster_share"] == 0.02  # none take 5 %: that would leave 40 rows of 40
    assert [header["cluster"][cls] for cls in header["order"]] == np.repeat(range(20), 2).tolist()
    assert len({(header["cluster"][cls], header["cluster"][cls ^ 1]) for cls in range(k)}) == 20

    few = slice(0, 10 * clips)  # ten classes are read as they are
    header, _ = read(
        of_pair(make(labels[few], predicted[few], 10), make(labels[few], predicted[few], 10))
    )
    assert header["cluster_share"] == 0.05
    assert len(set(header["cluster"])) == 10


def test_hard_predictions_and_published_scores_say_what_they_lack(make, scored) -> None:
    hard = make([0, 1, 1], [0, 1, 0])
    header, arrays = read(one_model(hard))
    assert header["missing"]["maps"] == "These are hard predictions: no features, so no maps."
    assert header["missing"]["scores"] == "These are hard predictions: there are no scores."
    assert header["missing"]["history"].startswith("Predictions alone hold no training history")
    assert "do not say of which store" in header["missing"]["clips"]
    assert header["map_choices"] == header["maps"] == []
    assert header["skeleton"] is None
    assert {"p_true_a", "top_p_a", "top_class_a"} & set(arrays) == set()
    published = scored([0, 1], [0, 1], features={}, metadata={"source": "joint/score.pkl"})
    header, _ = read(one_model(published))
    assert header["missing"]["maps"] == "Published scores hold no features, so there are no maps."
    assert "scores" not in header["missing"]
    half = make([0, 1], [0, 1], 4, class_names=published.class_names)
    header, arrays = read(of_pair(published, half, names=("x", "y")))
    assert header["missing"]["scores"] == "y has hard predictions only, no scores."
    assert "p_true_a" in arrays and "p_true_b" not in arrays


def test_spaces_that_only_one_has_make_no_map(scored) -> None:
    a = scored([0, 1], [0, 1])
    b = scored([0, 1], [0, 1], spaces=("fin.spatial",))
    header, _ = read(of_pair(a, b))
    assert "A has backbone; B has fin.spatial" in header["missing"]["maps"]


def test_fault_25_one_class_an_absent_class_and_no_clip(scored, make) -> None:
    header, arrays = read(one_model(scored([0, 0], [0, 0], 1)))
    assert (header["order"], header["cluster"], header["accuracy"]) == ([0], [0], [1.0])
    assert arrays["top_class_a"].shape == (2, 1)
    assert header["groups"] == [] and header["groups_note"] == NO_GROUP
    absent = of_pair(make([0, 2], [0, 2], 4), make([0, 2], [2, 2], 4))
    header, _ = read(absent)
    assert len(header["order"]) == 4
    assert [(g["anchor"], g["members"]) for g in header["groups"]] == [(0, [0, 2])]
    for nothing in (one_model(make([], [], 3)), of_pair(make([], [], 3), make([], [], 3))):
        header, arrays = read(nothing, first_maps(nothing))
        assert header["ids"] == []
        assert header["missing"]["maps"] == "There are no clips."
        assert set(header["accuracy"]) == {None}


def test_fault_18_names_of_classes_are_told_apart_and_hostile_ones_stay_text(make) -> None:
    x = make([0, 1], [0, 0], class_names=("w", "w"), ids=[HOSTILE, "\u2028"])
    header, _ = read(one_model(x, name=HOSTILE))
    assert header["classes"] == ["w (0)", "w (1)"]
    assert header["ids"] == [HOSTILE, "\u2028"]  # the key of the clip: never changed
    assert "\u202e" not in header["names"][0]


def test_seeds_show_the_first_runs(make) -> None:
    labels = [0, 1, 2] * 10
    runs = [make(labels, np.where(np.arange(30) < n, 0, labels)) for n in range(4)]
    header, arrays = read(of_pair(runs[:2], runs[2:]))
    assert arrays["predicted_a"].tolist() == runs[0].predicted.tolist()
    assert arrays["predicted_b"].tolist() == runs[2].predicted.tolist()
    assert "the first run of each" in header["title"]
    assert "Shown here the first run of each." in header["verdict"]
    assert "over all runs" in header["groups_note"]
    assert np.isfinite(arrays["cell_p"]).all()


def test_many_classes(make) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 120, 3_000)
    a, b = (np.where(rng.random(3_000) < q, labels, (labels + 1) % 120) for q in (0.6, 0.7))
    header, _ = read(of_pair(make(labels, a, 120), make(labels, b, 120)))
    assert sorted(header["order"]) == list(range(120))
    assert len(header["groups"]) == 120


# ---- maps


@pytest.mark.parametrize("sides", [1, 2])
def test_places_on_a_map_come_back(pair, sides: int) -> None:
    subject = one_model(pair[0]) if sides == 1 else of_pair(*pair)
    table = make_map(subject, space="backbone", method="pca")
    header, arrays = read(subject, [table])
    (entry,) = header["maps"]
    assert (entry["key"], entry["space"], entry["method"]) == ("backbone/pca", "backbone", "pca")
    low, high = np.reshape(entry["arrays"]["bounds"], (2, 2))
    clips = (table["kind"] == "clip").to_numpy()
    for side in "ab"[:sides]:
        columns = ["x", "y"] if sides == 1 else [f"{side}_x", f"{side}_y"]
        for which, name in ((clips, entry["arrays"][side]), (~clips, entry["stars"][side])):
            places = low + arrays[name] / 65535 * (high - low)
            np.testing.assert_allclose(
                places, table.loc[which, columns], atol=(high - low).max() / 65535
            )
    assert entry["stars"]["kind"] == "mean of true positives"
    assert entry["stars"]["classes"] == [0, 1, 2, 3]
    if sides == 2:
        assert entry["displacement"] == pytest.approx(table.attrs["displacement"])
        assert entry["floor"] == pytest.approx(table.attrs["floor"])
        assert "B starts from A's map" in entry["note"]
    else:
        assert entry["displacement"] is entry["floor"] is None
        assert set(entry["arrays"]) == {"a", "bounds"}
    assert {"space": "backbone", "method": "tsne"} in header["map_choices"]
    assert "maps" not in header["missing"]


def test_all_clips_in_one_place_are_a_map(scored) -> None:
    x = scored([0, 1, 0], [0, 1, 1], features={"backbone": np.ones((3, 4))})
    subject = one_model(x)
    entry, arrays = encode_map(subject, make_map(subject, space="backbone", method="pca"))
    assert arrays["map0_a"].shape == (3, 2)
    x0, y0, x1, y1 = entry["arrays"]["bounds"]
    assert x0 < x1 and y0 < y1


def test_the_first_map(pair, scored) -> None:
    subject = one_model(pair[0])
    assert first_maps(subject, method="none") == []
    (table,) = first_maps(subject, method="pca")
    assert table.attrs["method"] == "pca"
    only_head = one_model(scored([0, 1] * 6, [0, 1] * 6, spaces=("fin.spatial",)))
    assert first_maps(only_head, method="pca")[0].attrs["space"] == "fin.spatial"
    with pytest.raises(UserError, match="Did you mean 'tsne'.*Available: auto, .*pca, none"):
        first_maps(subject, method="tsna")
    with pytest.raises(UserError, match="Unknown method 'None'. Did you mean 'none'"):
        first_maps(subject, method=None)
    with pytest.raises(UserError, match="Unknown space 'backbon'.*Did you mean 'backbone'"):
        first_maps(subject, method="pca", space="backbon")


def test_maps_made_before_are_checked(pair) -> None:
    a, b = pair
    table = frviz.embed_pair(a, b, method="pca")
    assert check_maps(of_pair(a, b), table) == [table]
    assert first_maps(of_pair(a, b), maps=[table])[0] is table
    for wrong in (frviz.embed(a, method="pca"), frviz.embed_pair(b, a, method="pca"),
                  frviz.embed_pair(a, b, method="pca", classes=["read"])):  # fmt: skip
        with pytest.raises(UserError, match="other models or not all of their clips"):
            check_maps(of_pair(a, b), wrong)
    for wrong in (pd.DataFrame({"x": [1.0]}), "tsne", 3):
        with pytest.raises(UserError, match="expected what frviz.embed made"):
            check_maps(one_model(a), wrong)


def test_a_page_carries_the_maps_it_is_given_and_offers_no_other(pair) -> None:
    subject = of_pair(*pair)
    tables = [make_map(subject, space="backbone", method="pca", seed=seed) for seed in (0, 1)]
    whole = explorer_payload(subject, tables[:1])
    ids = subject.a.sample_ids
    header, arrays = unpack(for_page(whole, subject, tables, ids[:5], ids[1:3]))
    assert [entry["arrays"]["a"] for entry in header["maps"]] == ["map0_a", "map1_a"]
    assert (header["map_choices"], header["clip_count"]) == ([], 5)
    assert (header["carried"], header["complete"]) == ([0, 1, 2, 3, 4], [1, 2])
    before = unpack(whole)[1]
    assert set(before) < set(arrays)
    for name, array in before.items():
        np.testing.assert_array_equal(arrays[name], array)


# ---- history

#     clip:  s0 s1 s2 s3 s4 s5       labels 0 1 2 3 0 1
EPOCHS = [[1, 1, 1, 0, -1, 0],
          [0, 1, 2, 3, 1, 1],
          [-1] * 6,  # no evaluation
          [0, 1, 1, 3, 1, 1]]  # fmt: skip


@pytest.fixture
def trained(scored):
    labels = np.arange(6) % 4
    return scored(labels, EPOCHS[-1])


def test_learning_by_hand(trained, make_run) -> None:
    run = make_run(trained, EPOCHS)
    subject = replace(one_model(trained), origins=(run,))
    header, arrays = read(subject)
    assert header["epochs"] == {"a": [1, 2, 4]}
    assert arrays["status_a"].tolist() == [0, 0, 1, 0, 2, 0]
    assert arrays["learnt_at_a"].tolist() == [2, 1, 65535, 2, 65535, 2]
    assert arrays["forgettings_a"].tolist() == [0, 0, 1, 0, 0, 0]
    # off the diagonal: s0 0->1 at 1; s2 2->1 at 1 and 4; s3 3->0 at 1; s4 0->1 at 2 and 4;
    # s5 1->0 at 1. Used at the end or in two epochs: 0->1 and 2->1.
    cells = list(zip(arrays["spark_true"].tolist(), arrays["spark_pred"].tolist(), strict=True))
    assert cells == [(0, 1), (2, 1)]
    assert arrays["spark_a"].tolist() == [[1, 1, 1], [1, 0, 1]]


def test_a_page_knows_of_every_clip_when_it_was_right(trained, make_run) -> None:
    nine = [EPOCHS[1]] * 6 + EPOCHS[:2]  # and EPOCHS[3]: more epochs than a byte has bits
    subject = replace(one_model(trained), origins=(make_run(trained, [*nine, EPOCHS[3]]),))
    header, arrays = unpack(for_page(explorer_payload(subject), subject, [], (), ()))
    assert header["epochs"]["a"] == list(range(1, 10))
    right, seen = (np.unpackbits(arrays[f"{name}_a"], axis=1)[:, :9] for name in ("right", "seen"))
    assert arrays["right_a"].shape == (6, 2)
    # s0 is right but for epoch 7; s2 but for 7 and 9; s4 is never right, and not seen in epoch 7
    assert right[0].tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 1]
    assert right[2].tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 0]
    assert right[4].tolist() == [0] * 9
    assert seen[4].tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 1]
    assert seen[[0, 1, 2, 3, 5]].all()


def test_only_the_largest_cells_have_a_sparkline(trained, make_run, monkeypatch) -> None:
    monkeypatch.setattr(history_module, "MOST_CELLS", 1)
    runs = (make_run(trained, EPOCHS), make_run(trained, [[1, 1, 2, 3, 1, 1]] * 2))
    header, arrays = read(replace(of_pair(trained, trained), origins=runs))
    assert header["epochs"] == {"a": [1, 2, 4], "b": [1, 2]}
    assert (arrays["spark_true"].tolist(), arrays["spark_pred"].tolist()) == ([0], [1])
    assert arrays["spark_b"].tolist() == [[2, 2]]  # s0 and s4


def test_a_history_may_be_there_for_one_model_and_for_some_clips(trained, make_run) -> None:
    run = make_run(trained.select(trained.sample_ids[:3]), [row[:3] for row in EPOCHS])
    header, arrays = read(replace(of_pair(trained, trained, names=("x", "y")), origins=(run, None)))
    assert arrays["status_a"].tolist() == [0, 0, 1, 255, 255, 255]
    assert arrays["learnt_at_a"].tolist() == [2, 1, 65535, 65535, 65535, 65535]
    assert "status_b" not in arrays and "spark_b" not in arrays
    assert header["missing"]["history"].startswith("y: Predictions alone")


def test_a_run_is_found_from_its_directory_a_checkpoint_and_its_kept_predictions(
    trained, make_run, tmp_path
) -> None:
    run = make_run(trained, EPOCHS)
    kept = trained.save(run.path / "predictions" / "test-0123.npz")
    for origin in (run, str(run.path), run.path / "last.safetensors", kept):
        assert run_of(origin).path == run.path
    for origin in (trained, None, trained.save(tmp_path / "x.npz")):
        with pytest.raises(UserError, match="give the run"):
            run_of(origin)
    assert frviz.compare(kept, kept)._subject().histories[0].keys() == {"a", "b"}


def test_a_history_of_something_else_is_refused(trained, scored, make_run) -> None:
    run = make_run(trained, EPOCHS)
    other = scored([0, 1], [0, 1], ids=["t0", "t1"])
    with pytest.raises(UserError, match="other clips"):
        history_of(run, other)
    relabelled = scored([1, 1, 2, 3, 0, 1], EPOCHS[-1])
    with pytest.raises(UserError, match="other clips"):
        history_of(run, relabelled)
    with pytest.raises(UserError, match="no history of 'val'"):
        history_of(run, replace(trained, metadata={"split": "val"}))
    by_val = make_run(trained, EPOCHS, split="val")
    assert history_of(by_val, trained).epochs.tolist() == [1, 2, 4]
