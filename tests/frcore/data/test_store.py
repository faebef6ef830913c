import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import open_store
from frcore.data.clips import ClipRecord, content_hash
from frcore.data.store import (
    Store,
    StoreNotFound,
    data_root,
    write_store,
)
from frcore.data.synthetic import GENERATOR_VERSION
from frcore.errors import UserError
from frcore.process import LockedError
from frcore.skeleton import Skeleton

STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))
TOY = Benchmark("toy", STICK, ("wave", "bow"), 2, 8, ("xsub", "xset"))
V, C = 4, 3


def walk(frames, seed=0, persons=None):
    shape = (frames, V, C) if persons is None else (frames, persons, V, C)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def record(name, *, label=0, data=None, split="train", **fields):
    data = walk(4, seed=len(name)) if data is None else data
    return ClipRecord(name, label, data, {"xsub": split}, **fields)


@pytest.fixture
def store(tmp_path) -> Store:
    """Two training subjects and a test subject; "d" has the content of "a", "c" that of nothing."""
    same = walk(5, seed=9)
    clips = [
        record("a", data=same, extra={"subject": 1}),
        record("b", data=walk(3, seed=1), label=1, extra={"subject": 2}),
        record("c", data=walk(2, seed=2), split="test", extra={"subject": 3}),
        record("d", data=same, split="test", extra={"subject": 3}),
        record("e", data=walk(1, seed=3), split="", extra={"subject": 3}),
    ]
    return write_store(tmp_path / "toy", TOY, clips, preset="raw")


# --- what goes in comes out -------------------------------------------------------------------


@given(
    clips=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([None, 1, 2]), st.integers(0, 1)),
        max_size=12,
    )
)
@hypothesis_settings(max_examples=40)
def test_any_clips_come_back_bit_equal_and_empty_ones_are_refused(clips):
    with tempfile.TemporaryDirectory() as folder:
        arrays = [walk(t, seed=i, persons=m) for i, (t, m, _) in enumerate(clips)]
        records = [
            record(f"{i:04}", data=array, label=label)
            for i, (array, (_, _, label)) in enumerate(zip(arrays, clips, strict=True))
        ]
        empty = [r.sample_id for r in records if not len(r.data)]
        if empty or not records:
            with pytest.raises(UserError, match="0 frames" if empty else "no clips") as refused:
                write_store(Path(folder) / "toy", TOY, records)
            assert all(f"'{name}'" in str(refused.value) for name in empty[:10])
            assert list(Path(folder).iterdir()) == []
            return
        store = open_store(write_store(Path(folder) / "toy", TOY, records).path)
        assert len(store) == len(clips)
        assert store.frames.size == sum(array.size for array in arrays)
        for i, array in enumerate(arrays):
            stored = store.clip(f"{i:04}")
            expected = array if array.ndim == 4 else array[:, None]
            assert stored.dtype == np.float32 and stored.shape == expected.shape
            assert stored.tobytes() == expected.tobytes()
            assert store.samples.content_hash[i] == content_hash(expected)
        assert store.samples.label.tolist() == [label for *_, label in clips]


def test_columns_keep_their_types_on_reload(tmp_path):
    extra = {"subject": 7, "setup": "003", "height": 1.5}
    clips = [record("0001", extra=extra), record("NA", extra=extra), record('x,"y"', extra=extra)]
    samples = open_store(write_store(tmp_path / "toy", TOY, clips).path).samples
    assert samples.sample_id.tolist() == ["0001", "NA", 'x,"y"']
    assert samples.setup.tolist() == ["003"] * 3 and samples.subject.dtype == np.int64
    assert samples.height.tolist() == [1.5] * 3 and samples.split_xset.tolist() == [""] * 3
    assert all(isinstance(h, str) and len(h) == 32 for h in samples.content_hash)


def test_content_hash_is_of_shape_and_float32_values():
    clip = walk(4, persons=1)
    assert content_hash(clip) == content_hash(clip.astype(np.float64))
    assert content_hash(clip) == content_hash(np.asfortranarray(clip))
    assert content_hash(clip) != content_hash(clip.reshape(2, 2, V, C))
    changed = clip.copy()
    changed[0, 0, 0, 0] = np.nextafter(changed[0, 0, 0, 0], np.float32(9))
    assert content_hash(clip) != content_hash(changed)


def test_clips_are_read_only_views(store):
    clip = store.clip("a")
    assert clip.shape == (5, 1, V, C) and np.shares_memory(clip, store.frames)
    with pytest.raises(ValueError):
        clip[0] = 0
    with pytest.raises(UserError, match="No sample 'aa'"):
        store.clip("aa")


def test_fingerprint_ignores_order_and_sees_every_change(tmp_path):
    def fingerprint(clips, benchmark=TOY):
        return write_store(tmp_path / "toy", benchmark, clips).fingerprint

    a, b = record("a", data=walk(4, 1)), record("b", data=walk(4, 2), label=1)
    base = fingerprint([a, b])
    assert len(base) == 64 and fingerprint([b, a]) == base
    other_body = Benchmark(
        "toy", Skeleton("s", "abcd", ((1, 0), (2, 0), (3, 0))), "ab", 2, 8, TOY.protocols
    )
    changed = [
        fingerprint([a, record("b", data=walk(4, 2))]),
        fingerprint([a, record("b", data=walk(4, 3), label=1)]),
        fingerprint([a, record("b", data=walk(4, 2), label=1, split="test")]),
        fingerprint([a, record("c", data=walk(4, 2), label=1)]),
        fingerprint([a]),
        fingerprint([a, b], other_body),
    ]
    assert len({base, *changed}) == 7


def test_blocks_go_through_all_clips_in_order_and_keep_to_their_size(store):
    sizes = [store.clip_at(row).size for row in range(5)]
    assert sizes == [60, 36, 24, 60, 12]
    assert store.blocks(100) == store.blocks(96) == [range(0, 2), range(2, 5)]
    assert store.blocks(95) == [range(0, 1), range(1, 3), range(3, 5)]
    assert store.blocks(1) == [range(row, row + 1) for row in range(5)]
    assert store.blocks() == [range(0, 5)]


def test_released_clips_stay_what_they_were(tmp_path):
    clips = [record(f"{i}", data=walk(200 + i, seed=i)) for i in range(20)]
    store = write_store(tmp_path / "toy", TOY, clips)
    views = [store.clip_at(row) for row in range(20)]
    for rows in store.blocks(5_000):
        store.release(rows)
    for row, clip in enumerate(clips):
        np.testing.assert_array_equal(views[row][:, 0], clip.data)
        np.testing.assert_array_equal(store.clip_at(row)[:, 0], clip.data)


# --- splits and copies --------------------------------------------------------------------------


def test_split_gives_rows_in_store_order_with_their_positions(store):
    assert store.split("train").sample_id.tolist() == ["a", "b"]
    assert store.split("test").index.tolist() == [2, 3]
    assert store.split("all").sample_id.tolist() == ["a", "b", "c", "d"]
    assert len(store.split("val")) == 0 and len(store.split("train", protocol="xset")) == 0


def test_val_subjects_are_held_out_of_training_only(store):
    options = {"val_subjects": [2]}
    assert store.split("val", **options).sample_id.tolist() == ["b"]
    assert store.split("train", **options).sample_id.tolist() == ["a"]
    assert store.split("test", **options).sample_id.tolist() == ["c", "d"]
    assert store.split("val", val_subjects=["2"]).index.tolist() == [1]
    with pytest.raises(UserError, match=r"\[3\] have no training clips.*Training subjects: 1, 2"):
        store.split("val", val_subjects=[3])


def test_val_subjects_need_a_subject_column(tmp_path):
    store = write_store(tmp_path / "toy", TOY, [record("a")])
    with pytest.raises(UserError, match="no such column"):
        store.split("val", val_subjects=[1])


def test_copies_are_test_clips_with_training_content(store):
    assert store.copies().tolist() == [False, False, False, True, False]
    assert not store.copies(protocol="xset").any()
    assert not store.copies("val").any()


def test_dropping_duplicates_takes_them_from_training_and_never_from_test(store):
    assert store.split("train", duplicates="drop").sample_id.tolist() == ["b"]
    assert store.split("test", duplicates="drop").sample_id.tolist() == ["c", "d"]
    held = store.split("val", val_subjects=[1], duplicates="drop")
    assert len(held) == 0


def test_training_clips_that_judge_in_val_are_copies_and_dropped_too(tmp_path):
    same = walk(5, seed=9)
    clips = [
        record("a", data=same, extra={"subject": 1}),
        record("b", data=walk(3, seed=1), extra={"subject": 1}),
        record("c", data=same, extra={"subject": 2}),
    ]
    store = write_store(tmp_path / "toy", TOY, clips)
    held = {"val_subjects": [2]}
    assert store.copies("val", **held).tolist() == [False, False, True]
    assert store.split("train", **held, duplicates="drop").sample_id.tolist() == ["b"]
    assert store.split("val", **held, duplicates="drop").sample_id.tolist() == ["c"]
    assert store.split("train", **held).sample_id.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"split": "tests"}, "'tests'. Did you mean 'test'"),
        ({"split": "test", "protocol": "xsubject"}, "Did you mean 'xsub'"),
        ({"split": "test", "duplicates": "dropp"}, "Did you mean 'drop'"),
    ],
)
def test_unknown_words_name_the_choices(store, options, named):
    with pytest.raises(UserError, match=named):
        store.split(**options)


def test_store_introduces_itself_in_one_line(store):
    assert repr(store) == "Store('toy', preset 'raw', 5 clips, 2 classes, xsub: 2 train, 2 test)"
    store.preset = ""
    assert repr(store) == "Store('toy', 5 clips, 2 classes, xsub: 2 train, 2 test)"


# --- opening ------------------------------------------------------------------------------------


def test_store_opens_by_name_in_the_data_root(store, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(store.path.parent))
    assert data_root() == store.path.parent
    assert open_store("toy").fingerprint == store.fingerprint
    assert len(open_store("toy", root=store.path.parent)) == 5
    monkeypatch.delenv("FRCORE_DATA")
    assert data_root() == Path("data")


def test_moved_store_opens(store, tmp_path):
    shutil.move(store.path, tmp_path / "elsewhere")
    assert open_store(tmp_path / "elsewhere").fingerprint == store.fingerprint


def test_missing_store_says_how_to_make_it(tmp_path):
    with pytest.raises(StoreNotFound) as caught:
        open_store("nw_ucla", root=tmp_path)
    assert "frcore data prepare nw_ucla --source all_sqe.zip" in str(caught.value)
    assert "frcore data fetch nw_ucla" in str(caught.value)


CURRENT = f"synthetic v{GENERATOR_VERSION}, seed 0"


def test_synthetic_is_made_on_first_use_and_by_one_of_several_processes(
    tmp_path, monkeypatch, caplog
):
    def made_by_another_process(root):
        write_store(root / "synthetic", TOY, [record("a")], preset=CURRENT)
        raise LockedError("in use")

    monkeypatch.setattr("frcore.data.catalog.prepare", made_by_another_process)
    with caplog.at_level(logging.INFO):
        assert len(open_store("synthetic", root=tmp_path)) == 1
    assert f"Making the embedded benchmark 'synthetic' in {tmp_path}" in caplog.text
    caplog.clear()
    assert len(open_store("synthetic", root=tmp_path)) == 1 and caplog.text == ""


def test_synthetic_of_an_older_generator_is_named(tmp_path, caplog):
    write_store(tmp_path / "synthetic", TOY, [record("a")], preset="synthetic v0, seed 0")
    open_store("synthetic", root=tmp_path)
    assert "older generator (synthetic v0, now synthetic v" in caplog.text


def test_unknown_store_names_benchmarks_and_own_folders(store):
    with pytest.raises(
        StoreNotFound, match="Did you mean 'toy'.*Available: ntu120, ntu60, nw_ucla, synthetic, toy"
    ):
        open_store("toyy", root=store.path.parent)
    with pytest.raises(StoreNotFound, match="No store at"):
        open_store(store.path.parent / "nothing")
    with pytest.raises(UserError, match="cannot be used"):
        open_store("..", root=store.path.parent)
