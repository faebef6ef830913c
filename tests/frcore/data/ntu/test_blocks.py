import re
from dataclasses import replace

import numpy as np
import pytest

from frcore.data.ntu import blocks
from frcore.data.ntu.blocks import plan_blocks, read_block, write_block
from frcore.data.ntu.bodies import choose_bodies
from frcore.data.ntu.contents import Contents
from frcore.data.ntu.presets import PRESETS
from frcore.data.ntu.raw import parse_skeleton
from frcore.data.ntu.sources import list_files

FIELD = PRESETS["field"]


@pytest.fixture
def listing(raw_folder, small_blocks):
    return list_files([raw_folder], "ntu120")


def test_a_block_holds_what_became_of_each_file_and_its_clip(listing, raw_files, tmp_path):
    tasks = plan_blocks(listing.files, FIELD, tmp_path)
    assert [len(task.files) for task in tasks] == [4, 4, 4, 4, 1]
    with Contents(listing.sources) as contents:
        for task in tasks:
            outcomes, block = write_block(task, contents), read_block(task)
            assert block.outcomes == outcomes
            assert [o.name for o in outcomes] == [f.name for f in task.files]
            assert block.values.size == sum(o.size for o in outcomes)
            start = 0
            for outcome in outcomes:
                if outcome.left_out:
                    assert outcome.left_out == "no body" and outcome.size == 0
                    continue
                chosen = choose_bodies(parse_skeleton(raw_files[outcome.name]), FIELD).joints
                stored = block.values[start : start + outcome.size]
                assert (outcome.frames, outcome.persons) == chosen.shape[:2]
                np.testing.assert_array_equal(stored.reshape(chosen.shape), chosen)
                start += outcome.size


def test_a_block_that_is_damaged_anywhere_counts_as_missing(listing, tmp_path):
    task = plan_blocks(listing.files, FIELD, tmp_path)[0]
    assert read_block(task) is None
    with Contents(listing.sources) as contents:
        write_block(task, contents)
    whole = task.path.read_bytes()
    for place in [0, 63, 64, 65, 100, len(whole) // 2, len(whole) - 1]:
        task.path.write_bytes(whole[:place])
        assert read_block(task) is None
        flipped = bytearray(whole)
        flipped[place] ^= 1
        task.path.write_bytes(flipped)
        assert read_block(task) is None
    task.path.write_bytes(whole)
    assert read_block(task) is not None


def test_a_blocks_name_knows_all_that_decides_its_content(listing, tmp_path, monkeypatch):
    def of(files, preset=FIELD):
        return plan_blocks(files, preset, tmp_path)[0].path.name

    files = listing.files[:4]
    names = [
        of(files),
        of(files[:3]),
        of([files[0]._replace(stamp=b"1 at 2"), *files[1:]]),
        of([files[0]._replace(name="S001C001P001R001A001"), *files[1:]]),
        of(files, PRESETS["clean"]),
        *(of(files, replace(FIELD, min_frames=n)) for n in (11, 13)),
    ]
    monkeypatch.setattr(blocks, "FORMAT", 3)
    names.append(of(files))
    monkeypatch.setattr(blocks, "__version__", "other")
    names.append(of(files))
    assert len(set(names)) == len(names)


def test_the_stamp_of_a_file_changes_with_it(raw_files, write_files, tmp_path):
    name = "S001C002P001R001A001"
    changed = raw_files[name].replace(b" 1 0 ", b" 0 0 ", 1)  # as long as before
    for path in (tmp_path / "files", tmp_path / "a.zip"):
        stamps = []
        for content in (raw_files[name], changed):
            write_files(path, {name: content})
            stamps.append(list_files([path], "ntu60").files[0].stamp)
        assert stamps[0] != stamps[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw[: len(raw) // 2], r"line \d+: "),
        (lambda raw: raw.replace(b"\r\n25\r\n", b"\r\n24\r\n", 1), "line 4: .*24 joints"),
        (lambda raw: b"", "line 1: the file is empty"),
        (lambda raw: raw.replace(b" 1 0 ", b" none 0 ", 1), "line 3: .*'none'; expected a number"),
    ],
)
def test_a_bad_file_is_an_outcome_with_its_place_and_line(
    raw_files, write_files, tmp_path, change, said
):
    name = "S001C002P001R001A001"
    folder = write_files(tmp_path / "files", {name: change(raw_files[name])})
    task = plan_blocks(list_files([folder], "ntu60").files, FIELD, tmp_path)[0]
    with Contents([folder]) as contents:
        (outcome,) = write_block(task, contents)
    assert outcome.left_out == "bad file" and outcome.size == 0
    assert outcome.detail.startswith(f"{name}.skeleton in {folder}: ")
    assert re.search(said, outcome.detail)


def test_values_that_centring_makes_infinite_are_refused(raw_files, write_files, tmp_path):
    name = "S001C002P001R001A001"
    lines = raw_files[name].split(b"\r\n")
    lines[4] = b"3e38 " + lines[4].split(b" ", 1)[1]
    lines[5] = b"-3e38 " + lines[5].split(b" ", 1)[1]  # joint 1, the origin
    folder = write_files(tmp_path / "files", {name: b"\r\n".join(lines)})
    task = plan_blocks(list_files([folder], "ntu60").files, FIELD, tmp_path)[0]
    with Contents([folder]) as contents:
        (outcome,) = write_block(task, contents)
    assert outcome.left_out == "bad file" and "too large for float32" in outcome.detail


def test_a_defect_of_the_program_names_the_file(listing, tmp_path, monkeypatch):
    def broken(content):
        raise IndexError("a defect")

    monkeypatch.setattr(blocks, "parse_skeleton", broken)
    task = plan_blocks(listing.files, FIELD, tmp_path)[0]
    with Contents(listing.sources) as contents, pytest.raises(IndexError) as caught:
        write_block(task, contents)
    (note,) = caught.value.__notes__
    assert task.files[0].name in note and list(tmp_path.iterdir()) == []
