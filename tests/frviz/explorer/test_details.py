"""A clip on demand: its nearest clips by hand, its joints from the right store, its history."""

import json
from dataclasses import replace

import numpy as np
import pytest

import frviz
from frcore.data.arrays import from_arrays
from frcore.data.store import data_root
from frcore.errors import UserError
from frcore.predictions import Predictions
from frcore.skeleton import COCO17
from frviz.explorer.details import clip_details, near_clips, rival_of
from frviz.explorer.payload import explorer_payload
from frviz.explorer.payload_format import decode_clip, unpack
from frviz.explorer.subject import Subject, find_store, one_model

pytestmark = pytest.mark.usefixtures("own_folders")
IDS = ("p", "q", "r", "s", "t", "u")
LABELS = [0, 0, 0, 1, 1, 2]
#         p is near q by direction though far in length; of class 1 t is nearest, of class 2 only u
FEATURES = [[1, 0], [9, 1], [1, 2], [0, 1], [2, 1], [-1, 0]]
PREDICTED = [1, 0, 0, 1, 1, 2]
SECOND = [0, 1, 2, 2, 0, 1]


@pytest.fixture
def model() -> Predictions:
    logits = np.zeros((6, 3))
    logits[np.arange(6), PREDICTED], logits[np.arange(6), SECOND] = 3, 2
    return Predictions(
        IDS, np.array(LABELS), class_names=("x", "y", "z"), logits=logits,
        features={"backbone": np.array(FEATURES), "fin.spatial": np.array(FEATURES)[::-1]},
    )  # fmt: skip


@pytest.fixture
def stored(model, make_store, tmp_path):
    """The model, its clips in the data root, and that store."""
    store = make_store(data_root() / "tiny", IDS, LABELS)
    metadata = {"benchmark": "tiny", "fingerprint": store.fingerprint}
    return replace(model, metadata=metadata), store


def read(subject: Subject, name: str, **options):
    return unpack(clip_details(subject, name, **options))


def roles(header) -> dict[str, str]:
    return {clip["role"]: clip["id"] for clip in header["clips"]}


def test_nearest_clips_by_hand(stored) -> None:
    model, _ = stored
    header, _ = read(one_model(model), "p")
    assert roles(header) == {"chosen": "p", "true": "q", "predicted": "t"}
    assert (header["kind"], header["id"], header["rival"], header["note"]) == (
        "details",
        "p",
        1,
        "",
    )
    _, true, rival = header["clips"]
    assert header["clips"][0]["distance"] is None
    assert true["distance"] == pytest.approx(1 - 9 / np.sqrt(82), abs=1e-6)
    assert rival["distance"] == pytest.approx(1 - 2 / np.sqrt(5))
    assert (true["class"], true["predicted"], rival["class"], rival["predicted"]) == (0, 0, 1, 1)


def test_another_space_has_other_neighbours(stored) -> None:
    model, _ = stored
    # reversed: p [-1, 0], q [2, 1], r [0, 1]
    assert roles(read(one_model(model), "p", space="fin.spatial")[0])["true"] == "r"
    assert roles(read(one_model(model), "p", space="nowhere")[0])["true"] == "q"


def test_the_rival(model) -> None:
    one = one_model(model)
    assert [rival_of(one, row) for row in range(6)] == [1, 1, 2, 2, 0, 1]
    wrong = model.predicted.copy()
    wrong[1:3] = 2
    other = replace(model, logits=None, predicted=wrong)
    both = frviz.compare(model, other)._subject()
    # where A is right and B wrong, B's mistake counts more than A's second best
    assert [rival_of(both, row) for row in range(3)] == [1, 2, 2]
    assert [rival_of(both, row, "b") for row in range(6)] == [1, 2, 2, None, None, None]
    single = Predictions(("p",), np.array([0]), class_names=("x",), logits=np.ones((1, 1)))
    assert rival_of(one_model(single), 0) is None


def test_a_clip_is_never_near_itself_and_lonely_ones_are_said(model) -> None:
    shown, notes = near_clips(one_model(model), 5)
    assert [(clip.role, IDS[clip.row]) for clip in shown] == [("chosen", "u"), ("predicted", "s")]
    assert notes == ["There is no other clip of 'z'."]
    same = replace(model, features={"backbone": np.ones((6, 2))})
    shown, _ = near_clips(one_model(same), 1)
    assert [IDS[clip.row] for clip in shown] == ["q", "p", "s"]  # the first where all are alike
    zero = replace(model, features={"backbone": np.zeros((6, 2))})
    assert near_clips(one_model(zero), 0)[0][1].distance == 1


def test_without_scores_and_without_features(model) -> None:
    hard = replace(model, logits=None)
    shown, notes = near_clips(one_model(hard), 1)
    assert [clip.role for clip in shown] == ["chosen", "true"]
    assert notes == ["No scores: there is no second best class."]
    bare = replace(model, features={})
    shown, notes = near_clips(one_model(bare), 0)
    assert [clip.role for clip in shown] == ["chosen"]
    assert notes == ["No features: which clips are near is not known."]
    # one model with features is enough
    both = frviz.compare(bare, model)._subject()
    assert [IDS[clip.row] for clip in near_clips(both, 0)[0]] == ["p", "q", "t"]


def test_joints_are_those_of_the_store(stored) -> None:
    model, store = stored
    header, arrays = read(one_model(model), "p")
    for clip in header["clips"]:
        joints = decode_clip(clip, arrays[clip["joints"]])
        np.testing.assert_allclose(joints, store.clip(clip["id"]), atol=clip["scale"])
        assert (clip["frames"], clip["persons"], clip["title"]) == (5, 1, clip["id"])
    assert len(arrays) == 3


def test_pixels_are_turned(model, make_store, tmp_path) -> None:
    store = make_store(tmp_path / "flat", IDS, LABELS, channels=2)
    header, arrays = read(one_model(model, data=store), "p")
    joints = decode_clip(header["clips"][0], arrays["joints_0"])
    np.testing.assert_allclose(joints, store.clip("p") * [1, -1], atol=1e-3)


def test_shoulders_of_stored_keypoints_are_joined(model) -> None:
    clips = [np.ones((4, 17, 2))] * 6
    split = dict.fromkeys(IDS, "test")
    store = from_arrays("keypoints", clips, LABELS, IDS, split=split, skeleton="coco17")
    header, _ = unpack(explorer_payload(one_model(model, data=store)))
    assert header["skeleton"]["bones"] == [list(pair) for pair in COCO17.lines]


def test_the_store_is_found_by_name_and_fingerprint(stored, make_store) -> None:
    model, store = stored
    found, why = find_store(model, None)
    assert (found.path, why) == (store.path, "")
    header, _ = unpack(explorer_payload(one_model(model)))
    assert header["skeleton"] == store.benchmark.skeleton.to_dict()
    assert "clips" not in header["missing"]
    changed = replace(model, metadata={**model.metadata, "fingerprint": "0" * 64})
    found, why = find_store(changed, None)
    assert found is None
    assert why.startswith("The store 'tiny' has changed since these predictions were made")
    (store.path / "store.json").write_text("{")
    found, why = find_store(model, None)
    assert found is None and why.startswith("The store 'tiny' cannot be read: ")


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "do not say of which store"),
        ({"benchmark": "nw_ucla"}, "do not say of which store"),
        ({"benchmark": "nw_ucla", "fingerprint": "0"}, "not here: frcore data fetch nw_ucla"),
        ({"benchmark": "mine", "fingerprint": "0"}, "The store 'mine' is not here."),
        ({"benchmark": "../mine", "fingerprint": "0"}, "'../mine' is no name of a store."),
        ({"benchmark": ["x"], "fingerprint": "0"}, "cannot be read"),
    ],
)
def test_a_missing_store_is_said_and_the_rest_works(model, make_run, metadata, why) -> None:
    run = make_run(model, [PREDICTED])
    subject = replace(one_model(replace(model, metadata=metadata)), origins=(run,))
    header, _ = unpack(explorer_payload(subject))
    assert why in header["missing"]["clips"]
    header, arrays = read(subject, "p")
    assert header["clips"] == [] and arrays == {}
    assert header["history"]["a"]["predicted"] == [1]


def test_a_store_can_be_given(model, make_store, tmp_path) -> None:
    store = make_store(tmp_path / "mine", IDS[:4], LABELS[:4])
    for data in (store, store.path):
        header, _ = read(one_model(model, data=data), "p")
        assert roles(header) == {"chosen": "p", "true": "q"}
        assert header["note"].startswith("No sample 't' among the 4 of")
    other = make_store(tmp_path / "other", ["a", "b"], [0, 1])
    with pytest.raises(UserError, match="holds none of the clips, such as 'p'"):
        explorer_payload(one_model(model, data=other))
    with pytest.raises(UserError, match="nowhere"):
        explorer_payload(one_model(model, data="nowhere"))


def test_history_by_epoch(model, make_run) -> None:
    a = make_run(model, [[2] * 6, [-1, *PREDICTED[1:]], PREDICTED])
    b = make_run(model, [PREDICTED])
    subject = replace(frviz.compare(model, model)._subject(), origins=(a, b))
    header, _ = read(subject, "p")
    assert header["history"] == {
        "a": {"epochs": [1, 2, 3], "predicted": [2, -1, 1], "p_true": [0.2, None, 0.2]},
        "b": {"epochs": [1], "predicted": [1], "p_true": [0.2]},
    }
    assert json.dumps(header, allow_nan=False)


def test_only_carried_clips_are_given(stored) -> None:
    model, _ = stored
    header, arrays = read(one_model(model), "p", carried={"p", "t"})
    assert roles(header) == {"chosen": "p", "predicted": "t"}
    assert header["note"] == "This file does not carry 'q', which is near."
    assert set(arrays) == {"joints_0", "joints_1"}


def test_an_unknown_clip_is_said(model) -> None:
    subject = one_model(replace(model, sample_ids=("clip1", *IDS[1:])))
    with pytest.raises(UserError, match="no clip 'clip2' here. Did you mean 'clip1'"):
        clip_details(subject, "clip2")
