"""The CTR-GCN family's npz: what a model sees of it is what the published feeder gives."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frcore.config import TransformConfig
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import NTU60
from frcore.data.formats.ctrgcn import cut_padding, open_ctrgcn
from frcore.data.formats.findings import Findings
from frcore.data.formats.importing import import_clips
from frcore.data.ntu.protocols import PUBLISHED
from frcore.errors import UserError

# --- the published feeder, one clip at a time -----------------------------------------------------


def feeder_length(padded):
    """Frames whose values do not sum to 0, as the published feeder counts them."""
    x = padded.reshape(-1, 2, 25, 3).transpose(3, 0, 2, 1)  # (C, T, V, M)
    return np.sum(x.sum(0).sum(-1).sum(-1) != 0)


def feeder(padded, frames=64):
    """(C, frames, V, M): the first valid frames, 95 % of them, resized linearly."""
    n = feeder_length(padded)
    x = padded.reshape(-1, 2, 25, 3).transpose(3, 0, 2, 1).astype(np.float64)
    bias = int((1 - 0.95) * n / 2)
    x = x[:, bias : n - bias]
    count, out = x.shape[1], np.zeros((3, frames, 25, 2))
    for f in range(frames):
        place = min(max((f + 0.5) * count / frames - 0.5, 0), count - 1)
        low = int(place)
        high = min(low + 1, count - 1)
        out[:, f] = x[:, low] + (place - low) * (x[:, high] - x[:, low])
    return out


def seen(store, split, protocol, **transform):
    """(n, C, 64, V, M): what a model sees of the store."""
    rows = store.split(split, protocol=protocol)
    pipeline = ClipPipeline(
        DeviceClips.from_store(store, rows),
        store.benchmark.skeleton,
        TransformConfig(frames=64, **transform),
        num_persons=2,
        absent_person=store.benchmark.absent_person,
    )
    return pipeline(torch.arange(len(rows))).numpy()


def odd_clips(walk):
    """Clips of everything that such files hold, the last one padded nowhere."""
    two = walk(30, 2)
    two[5:9, 1] = 0  # the second person leaves and returns
    late = walk(20, 2)
    late[:4, 0] = 0  # the first person comes late
    gap = walk(25)
    gap[10:13] = 0  # nobody, in between
    cancelled = walk(12)
    cancelled[4], cancelled[5] = 0, 0
    cancelled[4, 0, 3], cancelled[5, 0, 7] = (1, -2, 1), (0.5, 0.25, -0.75)  # sum to 0
    second_only = walk(15, 2)
    second_only[:, 0] = 0
    twin = np.concatenate([walk(18, 1, seed=5)] * 2, axis=1)
    empty_second = walk(22, 2)
    empty_second[:, 1] = 0
    return [two, late, gap, cancelled, second_only, twin, empty_second, walk(1), walk(40, 2)]


@pytest.mark.parametrize("absent", ["zero", "copy"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_model_sees_what_the_published_feeder_gives(write_npz, walk, tmp_path, absent, packed):
    ones = [np.repeat(walk(t), 2 if absent == "copy" else 1, axis=1) for t in range(8, 16)]
    clips = {"train": [*ones, *odd_clips(walk)], "test": odd_clips(walk)}
    path = write_npz(clips["train"], clips["test"], packed=packed)
    store = import_clips("ntu60", path, root=tmp_path / "root")
    assert store.benchmark.absent_person == absent
    with np.load(path) as arrays:
        for split in ("train", "test"):
            expected = np.stack([feeder(padded) for padded in arrays[f"x_{split}"]])
            np.testing.assert_allclose(
                seen(store, split, "xsub", center=False), expected, atol=1e-5
            )
            assert store.split(split)["label"].tolist() == [
                int(np.flatnonzero(row)[0]) for row in arrays[f"y_{split}"]
            ]


def test_published_clips_are_centred_already(write_npz, walk, tmp_path):
    clips = [walk(t, 2) for t in (20, 30)]
    path = write_npz(clips, clips)
    store = import_clips("ntu60", path, root=tmp_path / "root")
    centred, kept = (seen(store, "test", "xsub", center=center) for center in (True, False))
    np.testing.assert_array_equal(centred, kept)


def test_names_splits_and_shapes_follow_from_the_arrays(write_npz, walk, tmp_path):
    path = write_npz([walk(5), walk(6), walk(7, 2)], [walk(8)], name="NTU60_CV.npz")
    store = import_clips("ntu60", path, root=tmp_path / "root")
    samples = store.samples
    assert samples.sample_id.tolist() == [
        "train/000000", "train/000001", "train/000002", "test/000000"
    ]  # fmt: skip
    assert samples.split_xview.tolist() == ["train", "train", "train", "test"]
    assert (samples.split_xsub == "").all()
    assert store.protocol(None) == "xview"
    assert samples.num_frames.tolist() == [5, 6, 7, 8]
    assert samples.num_persons.tolist() == [1, 1, 2, 1]
    np.testing.assert_array_equal(store.clip("train/000002"), walk(7, 2))
    with pytest.raises(UserError, match="no such column"):
        store.split("train", val_subjects=[1])


def test_copies_of_the_first_person_are_stored_once(write_npz, walk, tmp_path):
    ones = [np.repeat(walk(t), 2, axis=1) for t in (5, 6, 7)]
    path = write_npz(ones, [*ones, walk(9)], name="NTU120_CSub.npz", num_classes=120)
    store = import_clips("ntu120", path, root=tmp_path / "root")
    assert store.benchmark.absent_person == "copy"
    assert store.samples.num_persons.tolist() == [1, 1, 1, 1, 1, 1, 2]
    assert not store.clip("test/000003")[:, 1].any()  # zeros stand where zeros stood
    assert not any("second one" in notice for notice in store.notices)


def test_another_filling_than_published_is_recorded_and_said(write_npz, walk, tmp_path, caplog):
    path = write_npz([walk(5)], [walk(6)], name="NTU120_CSet.npz", num_classes=120)
    store = import_clips("ntu120", path, root=tmp_path / "root")
    assert store.benchmark.absent_person == "zero"
    assert "'zero' for the second one, not 'copy' as published for ntu120" in caplog.text
    assert any("'zero' for the second one" in notice for notice in store.notices)


def test_frames_that_sum_to_zero_in_between_are_told(write_npz, walk, tmp_path):
    gap = walk(20)
    gap[3:5] = 0
    path = write_npz([walk(9), gap], [walk(9)])
    store = import_clips("ntu60", path, root=tmp_path / "root")
    assert len(store.clip("train/000001")) == 18  # the first 18 frames, with the gap
    np.testing.assert_array_equal(store.clip("train/000001"), gap[:18])
    (notice,) = [text for text in store.notices if "sum to 0" in text]
    assert "1 clip(s)" in notice and "train/000001" in notice


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.just(150)),
        elements=st.sampled_from([0, 0, 0, 0.1, -0.1, 0.3, -0.3, 1e8, -1e8, 1e-8]),
        fill=st.just(0),
    )
)
def test_valid_frames_are_counted_with_the_feeder_s_roundings(padded):
    data, whole = cut_padding(padded.reshape(-1, 2, 25, 3))
    assert len(data) == feeder_length(padded)
    x = padded.reshape(-1, 2, 25, 3).transpose(3, 0, 2, 1)
    sums = x.sum(0).sum(-1).sum(-1)
    assert whole == bool((sums[: len(data)] != 0).all())


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_floats_of_any_width_are_read(write_npz, walk, tmp_path, dtype):
    x = np.zeros((2, 12, 2, 25, 3), dtype)
    x[0, :10, :1], x[1, :7, :1] = walk(10), walk(7)
    y = np.eye(60, dtype=np.int64)[[1, 2]]
    path = write_npz([walk(3)], [walk(3)], x_train=x.reshape(2, 12, 150), y_train=y)
    store = import_clips("ntu60", path, root=tmp_path / "root")
    np.testing.assert_array_equal(store.clip("train/000001"), x[1, :7, :1].astype(np.float32))
    assert store.split("train").label.tolist() == [1, 2]


# --- which protocol -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("benchmark", "name", "protocol", "expected"),
    [
        ("ntu60", "NTU60_CS.npz", None, "xsub"),
        ("ntu60", "ntu60_cv.npz", None, "xview"),
        ("ntu120", "NTU120_CSub.npz", None, "xsub"),
        ("ntu120", "NTU120_CSet.npz", "xset", "xset"),
        ("ntu60", "mine.npz", "xview", "xview"),
        ("ntu60", "mine.npz", None, "add --protocol .*one of xsub, xview"),
        ("ntu60", "mine.npz", "xset", "protocol of ntu60 'xset'"),
        ("ntu60", "NTU120_CSub.npz", None, "has the name of ntu120 xsub, not of ntu60"),
        ("ntu60", "NTU60_CS.npz", "xview", "has the name of ntu60 xsub, not of ntu60 xview"),
    ],
)
def test_the_protocol_is_given_or_in_the_name(
    write_npz, walk, tmp_path, benchmark, name, protocol, expected
):
    classes = {"ntu60": 60, "ntu120": 120}[benchmark]
    path = write_npz([walk(3)], [walk(4)], name=name, num_classes=classes)

    def load():
        return import_clips(benchmark, path, protocol=protocol, root=tmp_path / "root")

    if " " not in expected:
        assert load().split("train", protocol=expected).sample_id.tolist() == ["train/000000"]
    else:
        with pytest.raises(UserError, match=expected):
            load()
        assert not (tmp_path / "root").exists()


def test_counts_of_another_protocol_are_refused(write_npz, tmp_path, monkeypatch):
    counts = {"xsub": {"train": 300, "test": 100}, "xview": {"train": 200, "test": 200}}
    monkeypatch.setitem(PUBLISHED, "ntu60", counts)
    clip = np.ones((1, 1, 25, 3), np.float32)

    def load(train, test, **options):
        path = write_npz([clip] * train, [clip] * test, name="a.npz", length=1)
        return import_clips("ntu60", path, root=tmp_path / "root", overwrite=True, **options)

    with pytest.raises(UserError) as caught:
        load(199, 202, protocol="xsub")
    assert "have 199 and 202 clips: that is xview of ntu60, not xsub (300 and 100)" in str(
        caught.value
    )
    assert "Import it with --protocol xview" in str(caught.value)
    assert not (tmp_path / "root").exists()
    assert len(load(199, 202, protocol="xview")) == 401
    assert len(load(203, 202, protocol="xsub")) == 405  # 1.5 % off: nobody's


# --- what is refused ------------------------------------------------------------------------------


def x_of(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"x_test": None}, "holds no x_test; it holds x_train, y_train, y_test"),
        ({"x_train": x_of(2, 5, 75)}, r"float32\[2, 5, 75\]; expected float32 \(N, T, 150\)"),
        ({"x_train": x_of(2, 750)}, r"expected float32 \(N, T, 150\)"),
        ({"x_train": x_of(2, 5, 150, dtype=np.int32)}, "int32"),
        ({"x_train": x_of(3, 5, 150)}, r"y_train.*shape \(2, 60\); expected \(3, 60\)"),
        ({"x_train": x_of(2, 10_001, 150)}, "10,001 frames; at most"),
        ({"x_train": np.asfortranarray(x_of(2, 5, 150))}, "ascontiguousarray"),
        ({"x_train": x_of(0, 5, 150)}, r"shape \(0, 5, 150\)"),
        ({"x_train": np.array([None, {}], dtype=object)}, "type object instead of numbers"),
        ({"x_train": np.array(["a", "b"])}, "type <U1 instead of numbers"),
        ({"y_train": np.eye(120)[:2]}, r"expected \(2, 60\).*60 classes of ntu60"),
        ({"y_train": np.zeros(2)}, "one-hot labels"),
        ({"y_train": np.zeros((2, 60))}, r"not one-hot .*: 2 problem.*row 0: zeros alone"),
        ({"y_train": 2 * np.eye(60)[:2]}, r"row 0: 1 value other than 0, \[2.\]"),
        ({"y_train": np.eye(60)[:2] + np.eye(60)[[0, 2]]}, "row 1: 2 values"),
        ({"y_train": np.eye(60)[:2] - np.eye(60)[[4, 5]]}, "row 0: 2 values"),
        ({"y_train": np.where(np.eye(60)[:2] > 0, np.nan, 0)}, r"row 0: 1 value .*nan"),
    ],
)
def test_arrays_that_are_not_as_expected_are_named(write_npz, walk, tmp_path, arrays, named):
    path = write_npz([walk(3), walk(4)], [walk(4)], **arrays)
    with pytest.raises(UserError, match=f"(?s){named}") as caught:
        import_clips("ntu60", path, root=tmp_path / "root")
    assert "NTU60_CS.npz" in str(caught.value)
    assert not list(tmp_path.glob("root/ntu60"))


def test_unusable_clips_are_all_named_or_left_out_and_listed(write_npz, walk, tmp_path, caplog):
    nan, late = walk(6), walk(9)
    nan[4, 0, 3, 1] = np.nan
    late[:5] = 0  # 4 frames count, and the first 4 are taken
    path = write_npz([walk(3), walk(0), nan], [late, walk(4)])
    reasons = {
        "train/000001": "no frame whose values sum to other than 0",
        "train/000002": "NaN or Inf in frame 4",
        "test/000000": "zeros only in its first 4 frames",
    }
    with pytest.raises(UserError, match="3 problem.*") as caught:
        import_clips("ntu60", path, root=tmp_path / "root")
    for name, reason in reasons.items():
        assert f"clip '{name}': {reason}" in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []
    store = import_clips("ntu60", path, root=tmp_path / "root", skip_bad=True)
    assert store.samples.sample_id.tolist() == ["train/000000", "test/000001"]
    lines = (store.path / "left_out.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["sample_id", *reasons]
    assert any("3 clip(s) left out (all in left_out.csv): train/000001" in n for n in store.notices)
    assert "train/000002: NaN or Inf in frame 4" in caplog.text


def test_numbers_too_large_for_a_store_are_unusable(write_npz, walk, tmp_path):
    x = np.ones((1, 5, 150))
    x[0, 2, 0] = 1e300
    path = write_npz([walk(3)], [walk(3)], x_test=x, y_test=np.eye(60)[:1])
    with pytest.raises(UserError, match="'test/000000': NaN or Inf in frame 2"):
        import_clips("ntu60", path, root=tmp_path / "root")


def test_a_file_of_unusable_clips_gives_no_store(write_npz, walk, tmp_path):
    path = write_npz([walk(0)], [walk(0)])
    with pytest.raises(UserError, match="no clips were given or left"):
        import_clips("ntu60", path, root=tmp_path / "root", skip_bad=True)


# --- hostile files --------------------------------------------------------------------------------


def npy(array, *, shape=None):
    """A .npy file whose header claims another shape than the array's."""
    header = {
        "descr": array.dtype.str,
        "fortran_order": False,
        "shape": array.shape if shape is None else shape,
    }
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def small_members(**changed):
    x, y = np.ones((2, 4, 150), np.float32), np.eye(60)[:2]
    members = {"x_train": npy(x), "y_train": npy(y), "x_test": npy(x), "y_test": npy(y)}
    return members | changed


def write_members(path, members, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refused(path, tmp_path, named):
    tracemalloc.start()
    with pytest.raises(UserError, match=f"(?s){named}"):
        import_clips("ntu60", path, root=tmp_path / "root")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert not list(tmp_path.glob("root/ntu60"))


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"x_train": npy(x_of(1, 1, 150), shape=(10**9, 300, 150))}, "takes 180,000,000,000"),
        ({"x_train": npy(x_of(1, 1, 150), shape=(1, 2, 150))}, "takes 1,328 bytes; there are 728"),
        ({"x_train": npy(x_of(2, 2, 150), shape=(1, 1, 150))}, "takes 728 bytes; there are 2,528"),
        ({"x_train": npy(x_of(1), shape=(-1, -1, 150))}, "shape"),
        ({"x_train": npy(x_of(1), shape=(10**18, 0, 150))}, "shape"),
        ({"x_train": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 10**6}, "x_train"),
        ({"x_train": b"\x93NUMPY\x03\x00\x10\x00\x00\x00" + b" " * 16}, "version"),
        ({"x_train": b"no array"}, "x_train"),
        ({"x_train": b""}, "x_train"),
        ({"y_train": npy(np.ones((2, 1), "<V480"), shape=(2, 60))}, "y_train"),
    ],
)
def test_headers_are_not_believed(tmp_path, members, named):
    path = write_members(tmp_path / "NTU60_CS.npz", small_members(**members))
    refused(path, tmp_path, named)


def test_a_row_larger_than_reasonable_is_not_read(tmp_path):
    wide = npy(np.zeros((1, 17 * 2**20), np.float32))  # 68 MB of zeros
    path = write_members(tmp_path / "NTU60_CS.npz", small_members(y_train=wide))
    refused(path, tmp_path, "rows of 68 MB")


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    path = write_members(tmp_path / "NTU60_CS.npz", small_members())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("x_train.npy", b"")
    refused(path, tmp_path, "occurs twice")


def test_another_packing_than_numpy_s_is_refused(tmp_path):
    path = write_members(tmp_path / "NTU60_CS.npz", small_members(), zipfile.ZIP_BZIP2)
    refused(path, tmp_path, "packed in a way")


def test_values_that_end_before_their_announced_size_are_found(tmp_path):
    cut = npy(x_of(3, 4, 150), shape=(5, 4, 150))  # all that is there, under a true checksum
    path = write_members(
        tmp_path / "NTU60_CS.npz", small_members(x_train=cut, y_train=npy(np.eye(60)[:5]))
    )
    content = path.read_bytes()
    told, claimed = (size.to_bytes(4, "little") for size in (len(cut), len(cut) + 2 * 4 * 150 * 4))
    assert content.count(told) == 2  # beside the values, and in the table of contents
    path.write_bytes(content.replace(told, claimed))
    refused(path, tmp_path, "x_train.*it ends in row 3")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_file_that_is_cut_is_refused(tmp_path, share):
    path = write_members(tmp_path / "NTU60_CS.npz", small_members())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, tmp_path, "not a readable npz")


def test_damaged_values_are_found_by_their_checksum(tmp_path):
    path = write_members(tmp_path / "NTU60_CS.npz", small_members(), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x00\x00\x80\x3f" * 100) + 200  # in the ones of x_train
    content[place + 3] ^= 1
    path.write_bytes(content)
    refused(path, tmp_path, "x_train.*Bad CRC-32")


def test_memory_stays_far_below_the_size_of_the_file(tmp_path):
    x = np.zeros((300, 300, 150), np.float32)  # 54 MB
    x[:, :20, :75] = np.random.default_rng(0).normal(size=(20, 75))
    x[:, 0, 0] = np.arange(300)
    path = tmp_path / "NTU60_CS.npz"
    np.savez(
        path,
        x_train=x,
        x_test=x[:2],
        y_train=np.eye(60)[np.arange(300) % 60],
        y_test=np.eye(60)[:2],
    )
    del x
    tracemalloc.start()
    store = import_clips("ntu60", path, root=tmp_path / "root")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(store) == 302 and store.clip("train/000299")[0, 0, 0, 0] == 299
    assert peak < 12e6


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["anywhere", "headers"]),
)
def test_changed_bytes_give_clips_or_an_error_of_the_user(tmp_path, changes, packed, where):
    packing = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    path = write_members(tmp_path / "NTU60_CS.npz", small_members(), packing)
    content = bytearray(path.read_bytes())
    places = range(len(content))
    if where == "headers":  # local ones, those of the arrays, and the table of contents
        first = content.index(b"PK\x01\x02")
        places = [*range(200), *range(first, len(content))]
    for place, byte in changes:
        content[places[int(place * (len(places) - 1))]] = byte
    path.write_bytes(content)
    found = Findings(path, NTU60, skip_bad=True)
    try:
        with open_ctrgcn(path, NTU60, None) as source:
            assert len(list(found.watch(source.records(found)))) <= 4
    except UserError as error:
        assert "NTU60_CS.npz" in str(error)
