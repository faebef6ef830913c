import hashlib
import json
import time
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.data.catalog import open_store
from frcore.data.check import check_store
from frcore.data.clips import ClipRecord
from frcore.data.store import write_store
from frcore.data.ucla import DIGEST, parse_clip, prepare
from frcore.errors import UserError


def clip_json(name, frames=4, **fields):
    """A clip's file as the archive has it; the label counts from 1 without a07 and a10."""
    label = [1, 2, 3, 4, 5, 6, 8, 9, 11, 12].index(int(name[1:3])) + 1
    joints = np.random.default_rng(frames).normal(size=(frames, 20, 3)).round(6).tolist()
    content = {"file_name": name, "skeletons": joints, "label": label} | fields
    return json.dumps(content).encode()


NAMES = ("a01_s01_e00_v01", "a08_s02_e01_v02", "a12_s10_e03_v03")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "all_sqe.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("all_sqe/", "")
        file.writestr("__MACOSX/all_sqe/._a01_s01_e00_v01.json", b"\0\5")
        for name in reversed(NAMES):
            file.writestr(f"all_sqe/{name}.json", clip_json(name))
    return path


def test_names_give_label_split_subject_and_camera(archive, tmp_path, caplog):
    store = prepare(archive, root=tmp_path)
    samples = store.samples
    assert store.path == tmp_path / "nw_ucla"
    assert samples.sample_id.tolist() == list(NAMES)
    assert samples.label.tolist() == [0, 6, 9]
    assert samples.split_xview.tolist() == ["train", "train", "test"]
    assert samples.subject.tolist() == [1, 2, 10] and samples.camera.tolist() == [1, 2, 3]
    said = "3 clips of 1,484 (train 2 of 1,020, test 1 of 464)"
    assert f"{archive}: Not the whole published set: {said}" in caplog.text
    assert len(store.notices) == 1 and said in store.notices[0]
    assert check_store(store).notices == list(store.notices)
    assert f"NOTICE: {store.notices[0]}" in str(check_store(store))


def test_clips_are_kept_as_they_are(archive, tmp_path):
    store = prepare(archive, root=tmp_path)
    expected = np.array(json.loads(clip_json(NAMES[0]))["skeletons"], np.float32)
    np.testing.assert_array_equal(store.clip(NAMES[0])[:, 0], expected)


def test_folder_gives_the_same_store_as_the_archive(archive, tmp_path):
    folder = tmp_path / "files" / "deep"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{name}.json").write_bytes(clip_json(name))
    from_zip = prepare(archive, root=tmp_path / "one").fingerprint
    assert prepare(tmp_path / "files", root=tmp_path / "two").fingerprint == from_zip


def test_an_existing_store_is_kept_and_another_replaces_it_on_request_only(archive, tmp_path):
    store = prepare(archive, root=tmp_path)
    made = (store.path / "store.json").stat().st_mtime_ns
    assert prepare(archive, root=tmp_path).fingerprint == store.fingerprint
    assert (store.path / "store.json").stat().st_mtime_ns == made
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("a02_s01_e00_v01.json", clip_json("a02_s01_e00_v01"))
    with pytest.raises(UserError, match=r"something else.*--overwrite.*There: 3 clips of nw_ucla"):
        prepare(archive, root=tmp_path)
    assert (store.path / "store.json").stat().st_mtime_ns == made
    assert len(prepare(archive, root=tmp_path, overwrite=True)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all_sqe.zip", "nw_ucla"]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a07_s01_e00_v01", b"{}", "unknown action"),
        ("a01_s01_e00_v04", b"{}", "unknown action or view"),
        ("readme", b"{}", "not like a01_s01_e00_v01"),
        ("a01_s01_e00_v01", b"{", "JSONDecodeError"),
        ("a01_s01_e00_v01", b"\xff\xfe\xfa", "expected JSON"),
        ("a01_s01_e00_v01", b"[]", "expected JSON"),
        ("a01_s01_e00_v01", b'{"label": 1}', "skeletons"),
        ("a01_s01_e00_v01", b"[" * 100_000, "expected JSON"),
        ("a01_s01_e00_v01", clip_json("a01", skeletons=[[[1, 2], [3]]]), "expected JSON"),
        ("a01_s01_e00_v01", clip_json("a01", skeletons=[[["a"]]]), "expected JSON"),
        ("a01_s01_e00_v01", clip_json("a01", label=2), "says label 2; a01 is 1"),
    ],
)
def test_bad_content_is_refused_with_what_was_expected(name, content, named):
    with pytest.raises(UserError, match=named):
        parse_clip(name, content)


def test_all_bad_members_are_named_and_nothing_is_left(archive, tmp_path):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("all_sqe/a02_s01_e00_v01.json", b"{")
        file.writestr("all_sqe/notes.json", b"{}")
    with pytest.raises(UserError) as caught:
        prepare(archive, root=tmp_path / "root")
    text = str(caught.value)
    assert "2 problem(s)" in text
    assert "all_sqe/a02_s01_e00_v01.json" in text and "all_sqe/notes.json" in text
    assert list((tmp_path / "root").iterdir()) == []


def test_fault_10_missing_values_are_refused_or_repaired_and_counted(tmp_path):
    joints = np.ones((4, 20, 3))
    joints[1, 3] = np.nan
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_bytes(clip_json(path.stem, skeletons=joints.tolist()))
    with pytest.raises(UserError, match=r"NaN or Inf in frame\(s\) 1 .*--repair"):
        prepare(tmp_path, root=tmp_path / "root")
    store = prepare(tmp_path, root=tmp_path / "root", repair="interpolate")
    assert (store.clip(path.stem) == 1).all() and store.record["counts"]["interpolated"] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("where", "frames"),
    [((2, 5, 1), "2"), ((1,), "1"), ((slice(None),), "0, 1, 2, 3")],
    ids=["one joint", "one frame", "all frames"],
)
def test_fault_10_missing_values_on_the_command_line(where, frames, value, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "root"))
    joints = np.arange(4.0)[:, None, None] + np.ones((4, 20, 3))  # moves evenly
    joints[where] = value
    source = tmp_path / "files"
    source.mkdir()
    for name, content in ((NAMES[0], joints), (NAMES[1], np.ones((4, 20, 3)))):
        (source / f"{name}.json").write_bytes(clip_json(name, skeletons=content.tolist()))

    def run(*words):
        return CliRunner().invoke(app, ["data", *words])

    prepare_it = ("prepare", "nw_ucla", "--source", str(source))
    refused = run(*prepare_it)
    assert refused.exit_code == 2 and "--repair" in refused.stderr
    assert f"clip '{NAMES[0]}' has NaN or Inf in frame(s) {frames}" in refused.stderr
    assert not (tmp_path / "root" / "nw_ucla").exists()
    for how, key in (("drop", "left_out"), ("interpolate", "interpolated")):
        assert run(*prepare_it, "--repair", how, "--overwrite").exit_code == 0
        store = open_store("nw_ucla")
        mended = how == "interpolate" and where != (slice(None),)
        assert store.record["counts"][key if mended else "left_out"] == 1
        assert len(store) == 1 + mended
        if mended:
            expected = np.arange(4.0)[:, None, None] + np.ones((4, 20, 3))
            np.testing.assert_array_equal(store.clip(NAMES[0])[:, 0], expected)
    clips = [ClipRecord(NAMES[0], 0, joints, {"xview": "train"})]
    write_store(store.path, store.benchmark, clips, allow_nonfinite=True)
    checked = run("check", "nw_ucla")
    assert f"{NAMES[0]} (frames {frames})" in checked.stdout


def test_fault_11_wrong_joint_count_is_refused_by_clip(tmp_path):
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_bytes(clip_json(path.stem, skeletons=np.zeros((4, 25, 3)).tolist()))
    with pytest.raises(UserError, match=r"clip 'a01_s01_e00_v01' .*V=25 \(expected 20\)"):
        prepare(tmp_path, root=tmp_path / "root")


@pytest.mark.parametrize("source", ["nothing.zip", "empty", "text.zip"])
def test_unusable_sources_are_named(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match=source):
        prepare(tmp_path / source, root=tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_an_incomplete_or_changed_set_is_accepted_and_says_so(reference, tmp_path, caplog):
    with zipfile.ZipFile(reference / "data/nw_ucla/all_sqe.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        contents = {PurePosixPath(name).name: archive.read(name) for name in names}
    folders = [tmp_path / "files" / f"view{view}" for view in (1, 2, 3)]  # packed otherwise
    for folder in folders:
        folder.mkdir(parents=True)
    for name, content in contents.items():
        (folders[int(name[13:15]) - 1] / name).write_bytes(content)
    assert prepare(tmp_path / "files", root=tmp_path).notices == ()
    changed = folders[0] / "a01_s01_e00_v01.json"
    changed.write_bytes(contents[changed.name] + b" ")
    lines = [f"{n} {hashlib.sha256(c).hexdigest()}\n" for n, c in sorted(contents.items())]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == DIGEST
    (notice,) = prepare(tmp_path / "files", root=tmp_path, overwrite=True).notices
    assert "Not the published files: content sha256" in notice and DIGEST[:12] in notice
    changed.unlink()
    caplog.clear()
    store = prepare(tmp_path / "files", root=tmp_path, overwrite=True)
    (notice,) = store.notices
    assert "1,483 clips of 1,484 (train 1,019 of 1,020, test 464 of 464)" in notice
    assert caplog.text.count(notice) == 1 and len(store) == 1483


def test_real_archive_in_under_15_seconds(reference, tmp_path):
    start = time.perf_counter()
    store = prepare(reference / "data/nw_ucla/all_sqe.zip", root=tmp_path)
    assert time.perf_counter() - start < 15
    assert (len(store), len(store.split("train")), len(store.split("test"))) == (1484, 1020, 464)
    length = store.samples.num_frames
    assert (length.min(), length.median(), length.max()) == (1, 31, 201)
    assert store.copies().sum() == 95
    assert store.notices == ()  # all of them, unchanged
    kept = store.split("train", duplicates="drop")
    assert len(kept) == 1020 - 95 and set(kept.label) == set(range(10))
    assert set(store.samples[store.copies()].label) == {1, 2}
