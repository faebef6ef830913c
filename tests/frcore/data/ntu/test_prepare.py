"""Raw files to stores, end to end; stopped, killed and started again."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

import frcore
from frcore.config import load_recipe
from frcore.data.check import check_store
from frcore.data.ntu import prepare as module
from frcore.data.ntu.bodies import choose_bodies
from frcore.data.ntu.contents import Contents
from frcore.data.ntu.prepare import prepare
from frcore.data.ntu.presets import PRESETS
from frcore.data.ntu.protocols import PUBLISHED
from frcore.data.ntu.raw import parse_skeleton
from frcore.data.ntu.raw_synthetic import write_raw_set
from frcore.data.ntu.report import report_rows
from frcore.data.ntu.sources import list_files
from frcore.data.store import read_store
from frcore.errors import UserError
from frcore.process import LockedError, ProcessLock
from frcore.splits import load_split

ROOT = Path(__file__).resolve().parents[4]
NOBODY = ["S005C001P001R001A053", "S005C001P001R001A054"]  # in which nobody is, or is left


def contents(store):
    """Name -> bytes of all files of a store."""
    return {path.name: path.read_bytes() for path in sorted(store.path.iterdir())}


def left(root):
    """Names in the data root."""
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def table(store, name):
    with (store.path / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(raw_folder, tmp_path_factory):
    """NTU 120 of the folder, made in one go by one process."""
    return prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path_factory.mktemp("whole"))


# ---- what comes out ----------------------------------------------------------------------------


def test_clips_are_those_that_the_rules_choose_in_the_order_of_their_names(whole, raw_files):
    names = sorted(set(raw_files) - set(NOBODY))
    assert whole.samples.sample_id.tolist() == names
    for name in names:
        chosen = choose_bodies(parse_skeleton(raw_files[name]), PRESETS["field"])
        np.testing.assert_array_equal(whole.clip(name), chosen.joints)
    assert left(whole.path.parent) == ["ntu120"] and whole.record["preset"] == "field"
    assert whole.path.name == "ntu120"


def as_expected(outcome, bodies):
    """(T, M, 25, 3) of what must become of a synthetic file, out of its bodies by id."""
    slots = [slot for slot in outcome.slots if slot]
    num_frames = 1 + max(piece.stop for slot in slots for piece in slot)
    joints = np.zeros((num_frames, len(slots), 25, 3), dtype=np.float32)
    filled = np.zeros((num_frames, len(slots)), dtype=bool)
    for person, slot in enumerate(slots):
        for piece in slot:
            joints[piece.start : piece.stop, person] = bodies[piece.body_id].joints
            filled[piece.start : piece.stop, person] = True
    origin = joints[np.flatnonzero(filled[:, 0])[0], 0, 1]
    centred = np.where(filled[..., None, None], joints - origin, 0)
    return centred[filled.any(axis=1)]


@pytest.mark.parametrize(("benchmark", "zipped"), [("ntu60", False), ("ntu120", True)])
def test_a_synthetic_raw_set_becomes_what_is_known_of_it(benchmark, zipped, tmp_path):
    expected = write_raw_set(tmp_path / "raw", 42, benchmark=benchmark, zipped=zipped)
    sources = sorted((tmp_path / "raw").glob("*.zip")) if zipped else [tmp_path / "raw"]
    assert len(sources) == 1 + zipped
    store = prepare(sources, benchmark=benchmark, workers=1, root=tmp_path)
    kept = {outcome.name: outcome for outcome in expected if outcome.body_ids}
    assert store.samples.sample_id.tolist() == sorted(kept)
    listing = list_files(sources, benchmark)
    with Contents(listing.sources) as contents:
        for file in listing.files:
            if file.name in kept:
                raw = parse_skeleton(contents.read(file))
                bodies = {body.body_id: body for body in raw.bodies}
                clip = as_expected(kept[file.name], bodies)
                np.testing.assert_array_equal(store.clip(file.name), clip)
    dropped = Counter(reason for outcome in expected for reason in outcome.dropped.values())
    report = store.record["report"]
    found = {rule: report["bodies"][rule]["bodies"] for rule in ("short", "spread", "discarded")}
    assert found == dict(zip(found, map(dropped.get, ("short", "spread", "no_slot")), strict=True))
    assert report["left_out"] == {"no body": len(expected) - len(kept)}
    lost = sum(outcome.dropped_frames for outcome in kept.values())
    assert report["bodies"]["frames_without_body"]["frames"] == lost > 0


def test_names_give_label_splits_and_columns(whole, raw_folder, tmp_path):
    row = whole.samples.set_index("sample_id").loc["S030C001P103R001A119"]
    assert (row.label, row.setup, row.camera, row.subject, row.replication) == (118, 30, 1, 103, 1)
    assert (row.split_xsub, row.split_xset) == ("train", "train")
    small = prepare(raw_folder, benchmark="ntu60", workers=1, root=tmp_path)
    assert set(small.samples.sample_id) == {
        name for name in whole.samples.sample_id if int(name[-3:]) <= 60
    }
    row = small.samples.set_index("sample_id").loc["S002C003P003R001A060"]
    assert (row.label, row.split_xsub, row.split_xview) == (59, "test", "train")
    assert small.record["report"]["left_out"] == {"no body": 2, "not of ntu60": 4}


def test_a_clip_keeps_as_many_persons_as_published_files_have(whole):
    persons = whole.samples.set_index("sample_id").num_persons
    joined = "S005C001P001R001A051"  # both bodies in the first slot: the second stays zero
    assert persons[joined] == 2 and not whole.clip(joined)[:, 1].any()
    assert whole.benchmark.absent_person == "copy"  # of one-body clips alone
    assert persons["S001C002P001R001A001"] == 1 and persons["S005C001P001R001A050"] == 2


def test_a_model_sees_a_clip_that_begins_with_zeros_as_published(write_files, tmp_path):
    """The published script centres by the first frame that is not zero, and moves the zeros too."""
    joints = np.random.default_rng(0).normal((0, 0, 3), 0.4, (90, 25, 3)).astype(np.float32)
    joints[:2] = 0
    lines = [f"{len(joints)}"]
    for frame in joints:
        lines += ["1", "7 0 1 1 1 1 0 0 0 2", "25"]
        lines += [f"{x:.9g} {y:.9g} {z:.9g} 0 0 0 0 0 0 0 0 2" for x, y, z in frame]
    raw = write_files(tmp_path / "raw", {"S001C001P003R001A001": "\r\n".join(lines).encode()})
    store = prepare(raw, benchmark="ntu60", workers=1, root=tmp_path)
    published = joints - joints[2, 1]
    data = load_recipe("ntu60_xsub_joint").data
    seen = load_split(store, "test", data, torch.device("cpu"))(torch.tensor([0]))
    start = int(0.05 * len(joints) / 2)
    middle = torch.from_numpy(published[start : len(joints) - start]).permute(2, 1, 0)  # C V T
    expected = interpolate(middle, 64, mode="linear").permute(0, 2, 1)
    np.testing.assert_allclose(seen[0, ..., 0], expected, atol=1e-6)


def test_the_clean_preset_is_recorded_and_copies_nobody(raw_folder, tmp_path):
    store = prepare(raw_folder, benchmark="ntu120", preset="clean", workers=1, root=tmp_path)
    assert store.record["preset"] == "clean" and store.benchmark.absent_person == "zero"
    assert store.record["report"]["rules"]["intervals"] == "true"
    assert store.samples.set_index("sample_id").num_persons["S005C001P001R001A051"] == 1
    mine = replace(PRESETS["field"], name="mine", min_frames=1)
    store = prepare(raw_folder, benchmark="ntu120", preset=mine, workers=1, root=tmp_path / "mine")
    assert store.record["preset"] == "mine" and NOBODY[1] in set(store.samples.sample_id)
    assert "Prepared by the preset 'mine'" in store.notices[1]
    with pytest.raises(UserError, match="Unknown preset 'cleen'"):
        prepare(raw_folder, benchmark="ntu120", preset="cleen", root=tmp_path)


def test_the_report_says_what_was_dropped_and_why(whole, raw_files):
    report = whole.record["report"]
    assert report["files"] == {"found": len(raw_files), "prepared": len(whole)}
    assert report["left_out"] == {"no body": 2}
    assert report["bodies"] == {
        "frames_without_body": {"clips": 1, "frames": 2},
        "short": {"clips": 1, "bodies": 1},
        "spread": {"clips": 1, "bodies": 1},
        "merged": {"clips": 1, "bodies": 1},
        "discarded": {"clips": 0, "bodies": 0},
        "empty_frames": {"clips": 0, "frames": 0},
    }
    rows = table(whole, "left_out.csv")
    assert [row["file"] for row in rows] == NOBODY
    assert {row["reason"] for row in rows} == {"no body"}
    assert "2 bodies was seen 12 times" in rows[1]["detail"]
    odd = {row["sample_id"]: row for row in table(whole, "bodies.csv")}
    assert sorted(odd) == ["S005C001P001R001A051", "S005C001P001R001A052"]
    assert odd["S005C001P001R001A052"]["short"] == odd["S005C001P001R001A052"]["spread"] == "1"


def test_counts_are_compared_with_the_published_ones(whole, raw_folder, tmp_path, caplog):
    train = int((whole.samples.split_xset == "train").sum())
    assert whole.record["report"]["protocols"]["xset"]["train"] == {
        "clips": train,
        "published": 54_468,
    }
    (notice,) = whole.notices
    assert "15 clips of 113,945 (xsub train 9 of 63,026, xsub test 6 of 50,919, " in notice
    assert f"xset train {train} of 54,468" in notice
    assert check_store(whole).notices == [notice]
    prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert f"ntu120: {notice}" in caplog.text


def test_the_published_counts_need_no_notice(whole, raw_folder, tmp_path, monkeypatch):
    counts = {
        protocol: {split: row["clips"] for split, row in splits.items()}
        for protocol, splits in whole.record["report"]["protocols"].items()
    }
    monkeypatch.setitem(PUBLISHED, "ntu120", counts)
    store = prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert store.notices == ()
    same = replace(PRESETS["field"], name="as_published")  # another name, no other rules
    store = prepare(raw_folder, benchmark="ntu120", preset=same, workers=1, root=tmp_path / "same")
    assert store.notices == ()


def test_a_complete_set_of_other_rules_is_not_called_comparable(
    raw_folder, whole, tmp_path, monkeypatch, caplog
):
    counts = {
        protocol: {split: row["clips"] for split, row in splits.items()}
        for protocol, splits in whole.record["report"]["protocols"].items()
    }
    monkeypatch.setitem(PUBLISHED, "ntu120", counts)
    store = prepare(raw_folder, benchmark="ntu120", preset="clean", workers=1, root=tmp_path)
    told = (
        "Prepared by the preset 'clean', not as in published work ('field'): accuracies on it are "
        "not comparable with published ones."
    )
    assert store.notices == (told,) and told in caplog.text


def test_the_preset_is_shown_wherever_a_store_is(raw_folder, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path))
    store = prepare(raw_folder, benchmark="ntu60", preset="clean", workers=1)
    assert store.preset == "clean" and whole.preset == "field"
    assert "Store('ntu60', preset 'clean', " in repr(store)
    report = check_store(store)
    assert report.preset == report.to_dict()["preset"] == "clean"
    assert "\n  preset clean\n" in str(report)
    assert ("preset", "clean", "") in report_rows(store.record["report"])
    run = frcore.fit(TINY | {"benchmark": "ntu60"}, out=tmp_path / "run")
    assert run.environment["data"] == {"fingerprint": store.fingerprint, "preset": "clean"}
    assert frcore.predict(run, device="cpu").metadata["preset"] == "clean"


def test_more_clips_than_published_hint_at_the_list(raw_folder, tmp_path, monkeypatch):
    few = {p: {"train": 1, "test": 1} for p in ("xsub", "xset")}
    monkeypatch.setitem(PUBLISHED, "ntu120", few)
    exclude = tmp_path / "list.txt"
    exclude.write_text("S001C002P001R001A001\n")
    for given, hint in ((None, True), (exclude, False)):
        root = tmp_path / str(hint)
        store = prepare(raw_folder, benchmark="ntu120", exclude=given, workers=1, root=root)
        assert ("list of incomplete skeletons" in store.notices[0]) is hint


def test_excluded_samples_are_counted_and_strange_lines_named(raw_folder, whole, tmp_path):
    exclude = tmp_path / "list.txt"
    exclude.write_text(
        "a head\nS001C002P001R001A001.skeleton\nS001C001P040R001A001\nnothing\n"
        "S001C001P001R001A099\nS018C001P041R001A061\n"
    )
    store = prepare(raw_folder, benchmark="ntu120", exclude=exclude, workers=1, root=tmp_path)
    assert len(store) == len(whole) - 2
    listed = {"names": 4, "matched": 2, "absent": 2, "unknown_lines": 1}
    assert store.record["report"]["exclude"] == listed
    assert store.record["report"]["left_out"] == {"excluded": 2, "no body": 2}
    of_list = "Of the list of excluded samples, "
    assert store.notices[1:] == (
        f"{of_list}1 line could not be read as a name: line 4: nothing.",
        f"{of_list}2 names could not be found in the sources: S001C001P001R001A099, "
        "S001C001P040R001A001.",
    )
    small = prepare(raw_folder, benchmark="ntu60", exclude=exclude, workers=1, root=tmp_path)
    listed = {"names": 4, "matched": 1, "absent": 1, "unknown_lines": 1}  # A099, A061: of ntu120
    assert small.record["report"]["exclude"] == listed
    assert {"file": "S001C002P001R001A001", "reason": "excluded", "detail": ""} in table(
        store, "left_out.csv"
    )


def test_folder_zip_and_several_sources_make_the_same_store(
    raw_files, write_files, whole, tmp_path
):
    half = len(raw_files) // 2
    parts = dict(list(raw_files.items())[:half]), dict(list(raw_files.items())[half:])
    sources = [
        write_files(tmp_path / "all.zip", raw_files),
        [write_files(tmp_path / "1.zip", parts[0]), write_files(tmp_path / "2.zip", parts[1])],
        [write_files(tmp_path / "files", parts[1]), tmp_path / "1.zip"],
    ]
    for number, source in enumerate(sources):
        store = prepare(source, benchmark="ntu120", workers=1, root=tmp_path / f"root{number}")
        assert contents(store) == contents(whole)


def test_files_and_zips_in_one_folder_are_read_and_what_lies_beside_is_said(
    raw_files, write_files, whole, tmp_path, caplog
):
    half = len(raw_files) // 2
    folder = write_files(tmp_path / "files", dict(list(raw_files.items())[:half]))
    write_files(folder / "more.zip", dict(list(raw_files.items())[half:]))
    (folder / "readme.txt").touch()
    store = prepare(folder, benchmark="ntu120", workers=2, root=tmp_path / "root")
    assert contents(store) == contents(whole)  # which knows nothing of what lies beside
    assert f"{folder}: 1 other file left aside: .txt 1." in caplog.text


def test_any_number_of_processes_makes_the_same_bytes(raw_folder, whole, tmp_path, small_blocks):
    for workers in (1, 2, 3):
        root = tmp_path / str(workers)
        store = prepare(raw_folder, benchmark="ntu120", workers=workers, root=root)
        assert contents(store) == contents(whole)


# ---- what is refused ---------------------------------------------------------------------------


@pytest.fixture
def damaged(raw_files, write_files, tmp_path):
    """A folder with three bad files among good ones."""
    cut = raw_files["S005C001P001R001A050"]
    return write_files(
        tmp_path / "damaged",
        raw_files
        | {
            "S005C001P001R001A055": cut[: len(cut) // 2],
            "S005C001P001R001A056": b"",
            "S005C001P001R001A057": cut.replace(b" 1 0 ", b" =none 0 ", 1),
        },
    )


def test_all_bad_files_are_named_with_their_line(damaged, tmp_path):
    with pytest.raises(UserError) as caught:
        prepare(damaged, benchmark="ntu60", workers=1, root=tmp_path / "root")
    text = str(caught.value)
    assert "Cannot prepare ntu60" in text and "--skip-bad" in text and "3 problem(s)" in text
    for number, line in ((55, r"line "), (56, "line 1: "), (57, "line 3: ")):
        assert f"S005C001P001R001A0{number}.skeleton in {damaged}: {line}" in text
    listed = tmp_path / "root" / "ntu60-bad-files.csv"
    assert f"all of them are in {listed}" in text
    assert left(tmp_path / "root") == [".ntu60.work", "ntu60-bad-files.csv"]


def test_a_stop_lists_all_bad_files_in_a_file_of_its_own(
    damaged, raw_files, write_files, tmp_path, monkeypatch
):
    names = [f"S006C001P001R001A{action:03}" for action in range(1, 16)]
    write_files(damaged, dict.fromkeys(names, b"1\r\n=x"))
    listed = tmp_path / "ntu60-bad-files.csv"
    with pytest.raises(UserError, match="18 problem.*, the first 10") as caught:
        prepare(damaged, benchmark="ntu60", workers=1, root=tmp_path)
    rows = list(csv.DictReader(listed.open(newline="")))
    assert [row["file"] for row in rows[3:]] == names
    assert {row["reason"] for row in rows} == {"bad file"}
    assert all(f"{row['file']}.skeleton in {damaged}: line " in row["detail"] for row in rows)
    assert str(caught.value).count(f"{names[0]}.skeleton") == 1  # each place once

    (damaged / "=x.skeleton").touch()  # names come first; the old list would mislead
    with pytest.raises(
        UserError, match=r"Nothing was converted: names [^.]* only then; all of them are in"
    ):
        prepare(damaged, benchmark="ntu60", workers=1, root=tmp_path)
    assert [row["file"] for row in csv.DictReader(listed.open(newline=""))] == ["'=x.skeleton"]

    listed.unlink()
    listed.mkdir()  # cannot be written: the files are named all the same
    with pytest.raises(UserError, match="x.skeleton") as caught:
        prepare(damaged, benchmark="ntu60", workers=1, root=tmp_path)
    assert "not listed in a file: Cannot write" in str(caught.value)
    listed.rmdir()
    listed.write_text("of an earlier call")
    prepare(damaged, benchmark="ntu60", workers=1, skip_bad=True, root=tmp_path)
    assert left(tmp_path) == ["damaged", "ntu60"]


def test_skip_bad_goes_on_from_what_was_done_and_lists_them(
    damaged, raw_files, tmp_path, monkeypatch
):
    root = tmp_path / "root"
    with pytest.raises(UserError, match="3 problem"):
        prepare(damaged, benchmark="ntu120", workers=1, root=root)
    assert left(root) == [".ntu120.work", "ntu120-bad-files.csv"]

    def nothing(tasks, sources, *, workers):
        assert tasks == []
        yield from ()

    monkeypatch.setattr(module, "convert_blocks", nothing)
    store = prepare(damaged, benchmark="ntu120", workers=1, skip_bad=True, root=root)
    assert len(store) == 15 and left(root) == ["ntu120"]
    assert store.record["report"]["left_out"] == {"bad file": 3, "no body": 2}
    bad = [row for row in table(store, "left_out.csv") if row["reason"] == "bad file"]
    assert [row["file"][-3:] for row in bad] == ["055", "056", "057"]
    assert "'=none'; expected a number" in bad[2]["detail"]
    said = "3 files left out (bad file; all in left_out.csv): S005C001P001R001A055"
    assert said in store.notices[1]


def test_wrong_and_doubled_names_stop_at_once_or_are_listed(
    raw_files, raw_folder, write_files, tmp_path
):
    again = {"S001C002P001R001A001": raw_files["S005C001P001R001A050"]}
    more = write_files(tmp_path / "more", again | {"=notes": b"", "S001C009P001R001A001": b""})
    with pytest.raises(UserError) as caught:
        prepare([raw_folder, more], benchmark="ntu120", root=tmp_path / "root")
    text = str(caught.value)
    assert "3 problem(s)" in text and left(tmp_path / "root") == ["ntu120-bad-files.csv"]
    assert "Nothing was converted: names and places come first" in text
    assert "Of the zips and the folder that they were unpacked to, give one" in text
    assert "'=notes' is not like" in text and "camera 9; expected 1..3" in text
    assert f"in {raw_folder} and S001C002P001R001A001.skeleton in {more}" in text
    store = prepare(
        [raw_folder, more], benchmark="ntu120", skip_bad=True, workers=1, root=tmp_path / "root"
    )
    assert store.clip("S001C002P001R001A001").shape[1] == 1  # the first of the two
    assert store.record["report"]["left_out"] == {
        "bad name": 2, "no body": 2, "second of its name": 1,
    }  # fmt: skip
    rows = table(store, "left_out.csv")
    assert "'=notes.skeleton" in [row["file"] for row in rows]  # inert in a spreadsheet
    assert len(store.notices) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"benchmark": "ntu90"}, "Unknown NTU benchmark 'ntu90'"),
        ({"workers": 0}, "workers is 0; expected 1 or more"),
        ({"source": "nowhere"}, "No such file or folder: nowhere"),
        ({"exclude": "nowhere.txt"}, "Cannot read the list nowhere.txt"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(raw_folder, tmp_path, options, said):
    given = {"source": raw_folder, "benchmark": "ntu60", "root": tmp_path / "root"} | options
    with pytest.raises(UserError, match=said):
        prepare(given.pop("source"), **given)
    assert not (tmp_path / "root").exists()


def test_a_folder_that_is_no_store_is_refused_before_the_work(raw_folder, tmp_path):
    (tmp_path / "ntu60").mkdir()
    (tmp_path / "ntu60" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="holds other files and no store"):
        prepare(raw_folder, benchmark="ntu60", root=tmp_path)
    assert left(tmp_path) == ["ntu60"]


def test_only_files_without_bodies_make_no_store(raw_files, write_files, tmp_path):
    folder = write_files(tmp_path / "files", {name: raw_files[name] for name in NOBODY})
    with pytest.raises(UserError, match="no clips were given or left"):
        prepare(folder, benchmark="ntu60", workers=1, root=tmp_path / "root")
    folder = write_files(tmp_path / "other", {"S018C001P001R001A061": b"1"})
    with pytest.raises(UserError, match="no clips were given or left"):
        prepare(folder, benchmark="ntu60", workers=1, root=tmp_path / "root")


@pytest.mark.parametrize("preset", ["field", "clean"])
def test_an_existing_store_is_replaced_on_request_only(
    raw_folder, tmp_path, monkeypatch, preset, caplog
):
    store = prepare(raw_folder, benchmark="ntu60", workers=1, root=tmp_path)
    before = contents(store)
    options = {"benchmark": "ntu60", "preset": preset, "workers": 1, "root": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(module, "convert_blocks", None)  # refused before the work
        with pytest.raises(UserError) as caught:
            prepare(raw_folder, **options)
    text = str(caught.value)
    assert f"{store.path} exists already: 11 clips of ntu60, made as 'field'. Nothing was" in text
    assert "pass overwrite=True (--overwrite) to replace it, or another data root" in text
    assert contents(store) == before and left(tmp_path) == ["ntu60"]
    again = prepare(raw_folder, **options, overwrite=True)
    assert again.record["preset"] == preset and left(tmp_path) == ["ntu60"]
    assert f"Replacing the store {store.path}" in caplog.text
    assert (contents(again) == before) is (preset == "field")


def test_a_damaged_store_is_replaced_on_request_only(raw_folder, tmp_path):
    (tmp_path / "ntu60").mkdir()
    (tmp_path / "ntu60" / "store.json").write_text("{")
    options = {"benchmark": "ntu60", "workers": 1, "root": tmp_path}
    with pytest.raises(UserError, match="a store that is damaged.*--overwrite"):
        prepare(raw_folder, **options)
    assert len(prepare(raw_folder, **options, overwrite=True)) == 11


def test_blocks_that_are_all_there_replace_no_other_store(raw_folder, tmp_path, monkeypatch):
    """A call with --overwrite was killed while it wrote; the next one goes without."""

    def full(*args, **options):
        raise UserError("disk full")

    store = prepare(raw_folder, benchmark="ntu60", workers=1, root=tmp_path)
    before = contents(store)
    options = {"benchmark": "ntu60", "preset": "clean", "workers": 1, "root": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_unless_there", full)
        with pytest.raises(UserError, match="disk full"):
            prepare(raw_folder, **options, overwrite=True)
    with pytest.raises(UserError, match=r"holds something else.*--overwrite.*made as 'field'"):
        prepare(raw_folder, **options)
    assert contents(store) == before and left(tmp_path) == [".ntu60.work", "ntu60"]
    assert prepare(raw_folder, **options, overwrite=True).record["preset"] == "clean"


def test_two_at_once_do_not_disturb_each_other(raw_folder, tmp_path):
    with (
        ProcessLock(tmp_path / ".ntu60.prepare.lock"),
        pytest.raises(LockedError, match=f"in use by process {os.getpid()}"),
    ):
        prepare(raw_folder, benchmark="ntu60", root=tmp_path)


# ---- stopped and started again -----------------------------------------------------------------


def interrupt(tasks, sources, *, workers):
    """Two blocks, then Ctrl-C."""
    for number, done in enumerate(original(tasks, sources, workers=workers)):
        yield done
        if number == 1:
            raise KeyboardInterrupt


original = module.convert_blocks


def test_ctrl_c_says_that_it_goes_on_and_it_does(
    raw_folder, whole, tmp_path, monkeypatch, small_blocks, caplog
):
    monkeypatch.setattr(module, "convert_blocks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert "8 of 17 files are done; the same command goes on from there" in caplog.text
    assert left(tmp_path) == [".ntu120.work"]
    asked = []

    def counting(tasks, sources, *, workers):
        asked.extend(tasks)
        return original(tasks, sources, workers=workers)

    monkeypatch.setattr(module, "convert_blocks", counting)
    (tmp_path / ".ntu120.work" / ".x.block.1234.frtmp").write_bytes(b"half")
    store = prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert [len(task.files) for task in asked] == [4, 4, 1]
    assert contents(store) == contents(whole) and left(tmp_path) == ["ntu120"]


def test_blocks_are_verified_with_a_bar(raw_folder, tmp_path, monkeypatch, small_blocks):
    class Bar(module.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append((options["desc"], len(args[0]) if args else None, self.disable))

    monkeypatch.setattr(module, "tqdm", Bar)
    monkeypatch.setattr(module, "convert_blocks", interrupt)
    seen = []
    for _ in range(2):
        bars = []
        with pytest.raises(KeyboardInterrupt):
            prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
        seen.append(bars[0])
    assert seen == [("ntu120: verifying", 0, True), ("ntu120: verifying", 2, False)]


def test_other_rules_begin_anew_and_a_damaged_block_is_made_again(
    raw_folder, whole, tmp_path, monkeypatch, small_blocks
):
    monkeypatch.setattr(module, "convert_blocks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_folder, benchmark="ntu120", preset="clean", workers=1, root=tmp_path)
    old = set((tmp_path / ".ntu120.work").iterdir())
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    new = set((tmp_path / ".ntu120.work").iterdir())
    assert len(old) == len(new) == 2 and not old & new
    damaged = new.pop()
    damaged.write_bytes(damaged.read_bytes()[:-4])
    monkeypatch.setattr(module, "convert_blocks", original)
    store = prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert contents(store) == contents(whole)


def test_a_block_that_is_damaged_at_the_end_is_named(raw_folder, tmp_path, monkeypatch):
    def damaging(tasks, sources, *, workers):
        yield from original(tasks, sources, workers=workers)
        tasks[0].path.write_bytes(b"")

    monkeypatch.setattr(module, "convert_blocks", damaging)
    with pytest.raises(UserError, match=r"\.block was damaged meanwhile. The same command"):
        prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert left(tmp_path) == [".ntu120.work"]


def kill(source, root, **plan):
    """Prepares in a process that kills itself; the ids of the workers that it had."""
    plan = {"source": str(source), "root": str(root), "workers": 1} | plan
    script = Path(__file__).with_name("killed_prepare.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(plan)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return json.loads(done.stdout)


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_killed_it_goes_on_and_its_workers_die(raw_folder, whole, tmp_path, monkeypatch, caplog):
    workers = kill(raw_folder, tmp_path, workers=2, at="block", count=3)
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(lives, workers))
    assert len(list((tmp_path / ".ntu120.work").glob("*.block"))) >= 3
    monkeypatch.setattr("frcore.data.ntu.blocks.FILES_PER_BLOCK", 2)
    caplog.set_level("INFO")
    store = prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert "of 17 files were done before" in caplog.text
    assert contents(store) == contents(whole) and left(tmp_path) == ["ntu120"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        {"at": "block", "count": 1},
        {"at": "block", "count": 8},
        {"at": "block", "count": 5, "workers": 3},
        {"at": "write", "count": 0},
        {"at": "write", "count": 4},
        {"at": "clip", "count": 1},
        {"at": "clip", "count": 14},
        {"at": "place"},
        {"at": "remove"},
    ],
    ids=str,
)
def test_killed_anywhere_and_again_the_store_is_the_same(
    raw_folder, whole, tmp_path, plan, monkeypatch
):
    kill(raw_folder, tmp_path, **plan)
    kill(raw_folder, tmp_path, at="clip", count=3)  # and a second time
    monkeypatch.setattr("frcore.data.ntu.blocks.FILES_PER_BLOCK", 2)
    store = prepare(raw_folder, benchmark="ntu120", workers=2, root=tmp_path)
    assert contents(store) == contents(whole) and left(tmp_path) == ["ntu120"]


def session_of(pid):
    """Ids of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            found += [int(path.name)] if fields[3] == str(pid) and fields[0] not in "ZX" else []
    return found


def semaphores_of(pid):
    """Those that a living process has open."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[-1]) for line in lines if "/dev/shm/sem." in line}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize(
    ("number", "send", "code"),
    [
        (signal.SIGINT, os.killpg, 130),  # as a terminal does: to parent and workers
        (signal.SIGTERM, os.kill, 143),
        (signal.SIGTERM, os.killpg, 143),  # as `timeout` and batch systems do
    ],
)
def test_a_signal_at_the_command_line_ends_all_of_it_in_order(
    raw_files, write_files, tmp_path, number, send, code
):
    content = raw_files["S005C001P001R001A051"]
    names = [f"S001C001P{p:03}R001A{a:03}" for p in range(1, 21) for a in range(1, 31)]
    source = write_files(tmp_path / "many.zip", dict.fromkeys(names, content))
    command = [sys.executable, "-m", "frcore", "data", "prepare", "ntu60", "--source", str(source)]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FRCORE_DATA": str(tmp_path / "root")},
        start_new_session=True,
        # where pytest runs in the background of a shell, SIGINT is ignored, which is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    work = tmp_path / "root" / ".ntu60.work"
    while not (work.exists() and list(work.glob("*.block"))):
        time.sleep(0.01)
    processes = session_of(process.pid)
    semaphores = {path for pid in processes for path in semaphores_of(pid)}
    assert len(processes) >= 3 and semaphores
    send(process.pid, number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert errors.count(b"the same command goes on from there") == 1
    assert b"Traceback" not in errors and b"resource_tracker" not in errors
    deadline = time.monotonic() + 5  # multiprocessing's tracker follows its parent a moment later
    while session_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session_of(process.pid) == [] and not any(path.exists() for path in semaphores)
    done = len(list(work.glob("*.block")))
    assert 0 < done < 10 and left(tmp_path / "root") == [".ntu60.work"]
    assert len(prepare(source, benchmark="ntu60", workers=2, root=tmp_path / "root")) == 600


def test_sigterm_while_the_store_is_written_leaves_nothing_half(
    raw_folder, whole, tmp_path, monkeypatch, caplog
):
    def terminated(tasks, benchmark):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from ()

    with monkeypatch.context() as patch:
        patch.setattr(module, "_clips", terminated)
        with pytest.raises(SystemExit) as caught:
            prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert caught.value.code == 143 and left(tmp_path) == [".ntu120.work"]
    assert "17 of 17 files are done; the same command goes on from there" in caplog.text
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    store = prepare(raw_folder, benchmark="ntu120", workers=1, root=tmp_path)
    assert contents(store) == contents(whole)


# ---- memory ------------------------------------------------------------------------------------

MEASURE = """
import multiprocessing, re, sys
from pathlib import Path
from frcore.data.ntu import prepare as module

def peak(pid="self"):  # getrusage's would begin at that of the process that started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024

def watched(*args, convert=module.convert_blocks, **options):
    for block in convert(*args, **options):
        workers.extend(peak(child.pid) for child in multiprocessing.active_children())
        yield block

workers, module.convert_blocks = [], watched
store = module.prepare(sys.argv[1], benchmark="ntu120", workers=2, root=sys.argv[2])
print(len(store), peak(), max(workers))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_hardly_grows_with_the_clips(write_files, tmp_path):
    """Parent and the largest worker, in MB, at 1,000 and at 16,000 files of one frame.

    What grows is tables, of the zip's members and of the samples: in the parent alone.
    """
    joint = b"0.1 0.9 3 277.4 191.9 1036.2 519.7 -0.2 0.03 0.9 -0.1 2\r\n"
    content = b"1\r\n1\r\n7 0 1 1 1 1 0 -0.05 0.2 2\r\n25\r\n" + 25 * joint
    peaks = []
    for count in (1_000, 16_000):
        numbers = np.arange(count)
        places = zip(1 + numbers // 8000, 1 + numbers // 100 % 80, 1 + numbers % 100, strict=True)
        names = [f"S{s:03}C001P{p:03}R001A{a:03}" for s, p, a in places]
        source = write_files(tmp_path / f"{count}.zip", dict.fromkeys(names, content))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(source), str(tmp_path / str(count))],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
        clips, parent, worker = map(int, done.stdout.split())
        assert clips == count
        peaks.append((parent, worker))
    (small, small_worker), (large, large_worker) = peaks
    at_full_scale = [
        first + (last - first) * 113_945 / 15_000
        for first, last in ((small, large), (small_worker, large_worker))
    ]
    assert at_full_scale[0] < 300 and at_full_scale[1] < 100, peaks
    assert sum(at_full_scale) + at_full_scale[1] < 500, peaks  # with both workers


# ---- on to training ----------------------------------------------------------------------------

TINY = {
    "name": "tiny",
    "data": {"repeats": 1, "transform": {"frames": 8, "rotation": [17, 17, 17]}},
    "model": {"backbone": "ctrgcn_tiny", "overrides": {"width": 8}},
    "optim": {"lr": 0.01, "warmup_epochs": 0},
    "train": {"epochs": 1, "batch_size": 8, "threads": 1, "precision": "fp32"},
}


def test_both_sets_and_all_protocols_train_and_predict(raw_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    for benchmark, protocols in (("ntu60", ("xsub", "xview")), ("ntu120", ("xsub", "xset"))):
        store = prepare(raw_folder, benchmark=benchmark, workers=1)
        for protocol in protocols:
            config = TINY | {"benchmark": benchmark, "data": TINY["data"] | {"protocol": protocol}}
            run = frcore.fit(config, out=tmp_path / f"{benchmark}_{protocol}")
            predictions = frcore.predict(run, device="cpu")
            test = store.split("test", protocol=protocol)
            assert list(predictions.sample_ids) == test.sample_id.tolist()
            assert predictions.logits.shape == (len(test), store.benchmark.num_classes)
            assert np.isfinite(predictions.logits).all()
    assert read_store(store.path).fingerprint == store.fingerprint
