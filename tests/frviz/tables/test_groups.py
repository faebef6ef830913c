"""Ambiguous groups and levels: by hand, on planted confusions, and without favour."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.tables.comparison import group_changes, level_changes
from frviz.tables.groups import folds, halves, mine
from frviz.tables.paired import Paired

# class 0 goes to 3 (twice), 1, 2, 4 (once each); class 1 to 0; the others are right
LABELS = [0] * 7 + [1, 1] + [2, 3, 4]
PREDICTED = [3, 3, 1, 2, 4, 0, 0] + [0, 1] + [2, 3, 4]


def test_groups_by_hand(make) -> None:
    table = frviz.ambiguous_groups(make(LABELS, PREDICTED))
    assert table.loc["c0", "members"] == ("c0", "c3", "c1", "c2")  # ties: the first class
    assert table.loc["c1", "members"] == ("c1", "c0")  # fewer where there are fewer
    assert table["errors"].to_dict() == {"c0": 5, "c1": 1}  # the others are never confused
    # of c0, c3, c1, c2: 7 + 1 + 2 + 1 clips, right 2 + 1 + 1 + 1; over all five classes
    assert table.loc["c0", ["clips", "accuracy"]].tolist() == [11, 5 / 11]
    assert table.loc["c1", ["clips", "accuracy"]].tolist() == [9, 3 / 9]
    assert list(table.index) == ["c1", "c0"]  # the worst first


def test_the_size_of_a_group(make) -> None:
    table = frviz.ambiguous_groups(make(LABELS, PREDICTED), size=1)
    assert table.loc["c0", "members"] == ("c0", "c3")
    with pytest.raises(UserError, match="1 or more"):
        frviz.ambiguous_groups(make(LABELS, PREDICTED), size=0)


@pytest.mark.parametrize(
    ("labels", "predicted", "k"),
    [
        ([0, 1, 2], [0, 1, 2], 3),  # perfect
        ([0, 0], [0, 0], 1),  # one class
        ([0, 0, 2], [0, 2, 0], 4),  # classes 1 and 3 are absent
        ([], [], 3),
    ],
)
def test_fault_25_groups_without_mistakes_or_clips_divide_by_nothing(
    make, labels, predicted, k
) -> None:
    x = make(labels, predicted, k)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frviz.confusion(x).shape == (k, k)
        table = frviz.ambiguous_groups(x)
        wrong = sum(t != p for t, p in zip(labels, predicted, strict=True))
        assert table["errors"].sum() == wrong
        assert len(table) == len({t for t, p in zip(labels, predicted, strict=True) if t != p})
        assert list(table) == ["members", "errors", "clips", "accuracy"]
        assert len(frviz.choose_anchors(table, 5)) == len(table)
        assert len(frviz.class_clusters(x, resamples=0)) == k
        compared = frviz.compare(x, x)
    assert len(compared.per_class) == k and compared.verdict
    assert compared.levels["clips"].sum() <= len(labels)  # classes of few clips have no level


def test_groups_of_a_reference(make) -> None:
    x = make(LABELS, PREDICTED)
    other = make([0, 0, 4], [2, 2, 1], 5, ids=["v1", "v2", "v3"])
    table = frviz.ambiguous_groups(x, reference=other)
    assert table.loc["c0", "members"] == ("c0", "c2")
    assert table.loc["c0", "clips"] == 8
    with pytest.raises(UserError, match="3 classes, x has 5"):
        frviz.ambiguous_groups(x, reference=make([0], [2]))


def test_a_choice_of_anchors_is_seeded(make) -> None:
    table = frviz.ambiguous_groups(make([0, 1, 2, 3, 4], [1, 2, 3, 4, 0]))
    one = frviz.choose_anchors(table, 3, seed=1)
    pd.testing.assert_frame_equal(one, frviz.choose_anchors(table, 3, seed=1))
    assert len({tuple(frviz.choose_anchors(table, 3, seed=s).index) for s in range(20)}) > 3
    assert len(frviz.choose_anchors(table, 60)) == 5


def test_levels_and_their_limits(make) -> None:
    # 69, 70, 90 and 91 of 100 right; a class without clips has no level
    right = [69, 70, 90, 91]
    labels = np.repeat(np.arange(4), 100)
    hit = np.concatenate([np.arange(100) < n for n in right])
    table = frviz.difficulty_levels(make(labels, np.where(hit, labels, (labels + 1) % 4), 5))
    assert table["level"].tolist()[:4] == ["hard", "medium", "medium", "easy"]
    assert pd.isna(table.loc["c4", "level"])


def test_the_planted_groups_are_found(synthetic_store) -> None:
    """A linear classifier of mean and spread of the joints: its errors stay within look-alikes."""
    samples, record = synthetic_store.samples, synthetic_store.benchmark
    splits = samples[[c for c in samples if c.startswith("split_")][0]].to_numpy()
    features = []
    for name in samples["sample_id"]:
        person = synthetic_store.clip(name)[:, 0]  # (T, V, C)
        person = person - person[:, :1]
        features.append(np.concatenate([person.mean(0).ravel(), person.std(0).ravel()]))
    features, labels = np.stack(features), samples["label"].to_numpy()
    test = splits == "test"
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    model.fit(features[splits == "train"], labels[splits == "train"])
    x = Predictions.from_labels(
        samples["sample_id"][test], labels[test], model.predict(features[test]), record.class_names
    )
    assert 0.3 < x.accuracy() < 0.95
    groups = frviz.ambiguous_groups(x)
    names = np.array(record.class_names)
    for planted in record.confusable:
        for anchor in names[list(planted)]:
            if groups.loc[anchor, "errors"] >= 5:
                assert groups.loc[anchor, "members"][1] in names[list(planted)]
    clusters = frviz.class_clusters(x, resamples=20)
    found = clusters[clusters["size"] > 1]
    group_of = {names[k]: n for n, planted in enumerate(record.confusable) for k in planted}
    assert len(found) >= 6
    for _, own in found.groupby("cluster"):
        assert len({group_of.get(name, name) for name in own.index}) == 1
    assert (found["stability"] > 0.5).all()


def test_halves_belong_to_the_clip(make) -> None:
    ids = [f"s{n}" for n in range(101)]
    labels = np.arange(101) % 4
    first = halves(ids, labels, 0)
    by_class = pd.Series(first).groupby(labels).sum()
    assert abs(first.sum() - 50.5) < 1
    assert ((by_class == 12) | (by_class == 13)).all()
    shuffled = np.random.default_rng(0).permutation(101)
    again = halves([ids[n] for n in shuffled], labels[shuffled], 0)
    np.testing.assert_array_equal(again, first[shuffled])
    assert (halves(ids, labels, 1) != first).any()


def test_folds(make) -> None:
    x = make(LABELS, PREDICTED)
    (cells, clips), (other_cells, other_clips) = folds(x, [[x]], 0)
    assert cells.sum() == (~clips).sum()
    np.testing.assert_array_equal(clips, ~other_clips)
    np.testing.assert_array_equal(cells + other_cells, frviz.confusion(x))
    val = make([0, 1], [1, 1], 5, ids=["v1", "v2"])
    ((cells, clips),) = folds(x, [[val, val], [val]], 0)
    assert (cells.sum(), clips.all()) == (4, True)  # two models, whatever the number of runs
    part = make([0, 1], [1, 1], 5, ids=[x.sample_ids[0], "v2"])
    with pytest.raises(UserError, match="1 of the 12 clips"):
        folds(x, [[part]], 0)
    with pytest.raises(UserError, match="3 classes, the models"):
        folds(x, [[make([0], [2], ids=["v"])]], 0)
    with pytest.raises(UserError, match="other labels for 1 clips, such as 's00011'"):
        folds(x, [[make([*LABELS[:-1], 0], PREDICTED)]], 0)


def favour(a, b) -> dict[str, float]:
    """Difference on hard classes by several choices of them, and the mean over fair groups."""
    paired = Paired.of([a], [b])
    both, alone = ([[a], [b]], [[a]])
    hard = level_changes(paired, both).loc["hard"]
    return {
        "by both": hard["difference"],
        "by A, cross-fitted": level_changes(paired, alone).loc["hard", "difference"],
        "by A's test errors": hard["raw_difference"],
        "groups by both": group_changes(paired, both)["difference"].mean(),
    }


def in_standard_errors(found: list[dict[str, float]]) -> pd.Series:
    table = pd.DataFrame(found)
    return table.mean() / (table.std() / np.sqrt(len(table)))


def test_no_gain_is_seen_where_there_is_none(random_pair) -> None:
    """Two models of equal quality with errors of their own: only the raw figure favours B."""
    found = in_standard_errors([favour(*random_pair(600, seed=s)) for s in range(60)])
    assert abs(found["by both"]) < 3
    assert abs(found["by A, cross-fitted"]) < 3
    assert abs(found["groups by both"]) < 3
    assert found["by A's test errors"] > 3


def test_no_gain_is_seen_between_training_runs_that_differ_by_class(make) -> None:
    """Each run is better at some classes and worse at others, by its seed: then a choice by A alone
    favours B also on other clips. A choice by both does not."""

    def drawn(seed: int) -> list:
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(30), 40)
        quality = rng.uniform(0.55, 0.95, 30)
        made = []
        for _ in range(2):
            right = rng.random(1200) < np.clip(quality + rng.normal(0, 0.08, 30), 0, 1)[labels]
            made.append(make(labels, np.where(right, labels, (labels + 1) % 30)))
        return made

    found = in_standard_errors([favour(*drawn(s)) for s in range(60)])
    assert abs(found["by both"]) < 3
    assert abs(found["groups by both"]) < 3
    assert found["by A, cross-fitted"] > 3
    assert found["by A's test errors"] > 3


def test_no_gain_is_seen_between_real_models_swapped_at_random(reference) -> None:
    """NTU 60: joint and bone model swapped clip by clip, so that neither is better."""
    from frcore import read_scores

    path = reference / "data" / "scores" / "ntu60_xsub_predictions.npz"
    joint, bone = (read_scores(path, scores=f"agcn_{s}") for s in ("joint", "bone"))
    few = np.random.default_rng(0).permutation(len(joint))[: 46 * 60]
    joint, bone = (x.select(np.array(x.sample_ids)[few]) for x in (joint, bone))
    found = []
    for seed in range(40):
        swap = np.random.default_rng(seed).random(len(joint)) < 0.5
        a, b = (
            Predictions.from_labels(
                joint.sample_ids,
                joint.labels,
                np.where(swap ^ other, bone.predicted, joint.predicted),
                joint.class_names,
            )
            for other in (False, True)
        )
        found.append(favour(a, b))
    found = in_standard_errors(found)
    assert abs(found["by both"]) < 3
    assert abs(found["by A, cross-fitted"]) < 3
    assert found["by A's test errors"] > 3


def test_a_true_gain_is_seen(random_pair) -> None:
    gains = [favour(*random_pair(600, gain=0.1, seed=s))["by both"] for s in range(30)]
    assert np.mean(gains) == pytest.approx(0.1, abs=0.02)


def test_mining_counts_only_mistakes() -> None:
    ranked, members = mine(np.array([[50, 0, 1], [2, 0, 0], [0, 0, 9]]))
    assert ranked == [[0, 2], [1, 0], [2]]
    assert members.tolist() == [[True, False, True], [True, True, False], [False, False, True]]
