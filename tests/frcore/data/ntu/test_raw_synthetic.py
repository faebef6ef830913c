"""Synthetic raw sets: each file's outcome is what the field's rules, read anew here, make of it."""

import re
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.data.ntu.raw import NoBodyError, RawBody, RawClip, parse_skeleton
from frcore.data.ntu.raw_cases import CASES, TOGETHER
from frcore.data.ntu.raw_fast import read_fast
from frcore.data.ntu.raw_synthetic import (
    Expected,
    Piece,
    make_raw_file,
    sample_names,
    write_raw_set,
)
from frcore.errors import UserError

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
TRAIN_60 = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
TRAIN_120 = TRAIN_60 | {
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86),
    *(89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
}


# ---- the rules of the field, slowly; `without` leaves one out ------------------------------------


def outcome(clip: RawClip, without: str = "") -> tuple[list[list[Piece]], dict[int, str]]:
    """Slots and dropped bodies of a clip."""
    left, dropped = list(clip.bodies), {}
    if len(left) == 1:
        return [[piece(left[0], clip)], []], {}
    if without != "short":
        limit = 12 if without == "11" else 11
        dropped |= {b.body_id: "short" for b in left if len(b.joints) <= limit}
        left = [b for b in left if len(b.joints) > limit]
    motions = {b.body_id: variance(b.joints) for b in left}
    for body in list(left) if without != "spread" else []:
        if len(left) == 1 and without != "stop at one":
            break
        valid = [j for j in body.joints if np.ptp(j[:, 0]) <= 0.8 * np.ptp(j[:, 1])]
        wide = 1 - len(valid) / len(body.joints)
        if wide >= (0.8 if without == "0.69754" else 0.0001 if without == "partly" else 0.69754):
            left.remove(body)
            dropped[body.body_id] = "spread"
        elif wide > 0 and without != "least motion":
            motions[body.body_id] = min(motions[body.body_id], variance(np.array(valid)))
    if without != "sort":
        left.sort(key=lambda b: -motions[b.body_id])
    slots = [[piece(b, clip, without)] for b in left[:1]] + [[]] * (not left) + [[]]
    ends = [[slots[0][0].start, slots[0][0].stop - 1] if left else [0, 0], [0, 0]]
    for body in left[1:]:
        new = piece(body, clip, without)
        for slot, (start, end) in enumerate(ends):
            if without == "slot 2 begins at 0" and slot == 1 and not slots[1]:
                start = end = new.start
            if without == "slot 1 only once" and slot == 0:
                continue
            overlap = min(end, new.stop - 1) - max(start, new.start)
            if overlap <= (-1 if without == "touching" and slots[slot] else 0):
                slots[slot].append(new)
                ends[slot] = [min(start, new.start), max(end, new.stop - 1)]
                break
        else:
            dropped[body.body_id] = "no_slot"
    return slots, dropped


def piece(body: RawBody, clip: RawClip, without: str = "") -> Piece:
    start = int(body.frames[0])
    if without == "compressed":
        return Piece(body.body_id, start, int(body.frames[-1]) + 1)
    return Piece(body.body_id, start, start + len(body.joints))


def variance(joints: np.ndarray) -> float:
    return sum(float(np.var(joints[..., axis].astype(np.float64))) for axis in range(3))


def agrees(content: bytes, expected: Expected, without: str = "") -> bool:
    try:
        clip = parse_skeleton(content)
    except NoBodyError:
        return expected.body_ids == ()
    slots, dropped = outcome(clip, without)
    return (slots, dropped) == ([list(slot) for slot in expected.slots], expected.dropped)


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted() -> list[tuple[bytes, Expected]]:
    """Every case with two actions, one of a single person and one of two."""
    return [
        make_raw_file(f"S001C001P{performer:03}R001A{action:03}", case)
        for case in CASES
        for performer, action in ((1, 1), (2, 24), (3, 58))
    ]


def test_every_case_comes_out_as_it_says(planted):
    for content, expected in planted:
        assert agrees(content, expected), expected
        if expected.body_ids:
            clip = parse_skeleton(content)
            assert tuple(body.body_id for body in clip.bodies) == expected.body_ids
            assert clip.dropped_frames == expected.dropped_frames
            assert read_fast(content) is not None


@pytest.mark.slow
def test_every_case_comes_out_as_it_says_whoever_acts():
    for case in CASES:
        for number in range(0, 120, 5):
            name = f"S001C001P{number + 1:03}R001A{number % 119 + 1:03}"
            assert agrees(*make_raw_file(name, case, seed=number)), (name, case)


@pytest.mark.parametrize(
    ("rule", "cases"),
    [
        ("short", {"body of 11 frames", "four bodies", "wide, and the other one short"}),
        ("11", {"body of 12 frames"}),
        ("spread", {"wide body", "mostly wide body", "two wide bodies"}),
        ("0.69754", {"mostly wide body"}),
        ("partly", {"partly wide"}),
        ("stop at one", {"two wide bodies", "wide, and the other one short"}),
        ("least motion", {"partly wide"}),
        ("sort", {"second moves more", "main body comes later", "slot 2 begins at 0"}),
        ("compressed", {"returns to company"}),
        ("slot 1 only once", {"disjoint bodies", "a frame written twice"}),
        ("touching", {"a frame written twice"}),
        ("slot 2 begins at 0", {"slot 2 begins at 0"}),
    ],
)
def test_every_rule_is_planted(planted, rule, cases):
    failed = {e.case for content, e in planted if not agrees(content, e, without=rule)}
    assert cases <= failed


def test_zero_body_frames_are_planted_and_counted(planted):
    with_gaps = [e for _, e in planted if e.dropped_frames]
    assert len(with_gaps) > len(planted) // 6
    for content, expected in planted:
        counts = re.findall(rb"^0\r$", content, re.MULTILINE)
        assert expected.dropped_frames == len(counts)


def test_number_of_frames_counts_what_slots_hold():
    slots = ((Piece(1, 0, 10), Piece(2, 9, 20)), (Piece(3, 15, 25),))
    assert Expected("", "", (1, 2, 3), 0, slots, {}).num_frames == 25
    assert Expected("", "", (1, 2), 3, ((Piece(1, 5, 9),), (Piece(2, 12, 13),)), {}).num_frames == 5


# ---- sets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", ["ntu60", "ntu120"])
@pytest.mark.parametrize("num_files", [12, 60, 200, 2000])
def test_names_are_unique_and_every_protocol_has_training_and_test_clips(benchmark, num_files):
    names = sample_names(num_files, benchmark=benchmark)
    parts = np.array([[int(part) for part in NAME.fullmatch(name).groups()] for name in names])
    setup, camera, performer, _, action = parts.T
    assert len(set(names)) == len(names) == num_files
    assert len(set(action)) == min(num_files, 60 if benchmark == "ntu60" else 120)
    assert action.max() > (55 if benchmark == "ntu60" else 105)  # few files: from all over the list
    train = TRAIN_60 if benchmark == "ntu60" else TRAIN_120
    subjects = np.isin(performer, list(train))
    for split in (subjects, camera != 1) if benchmark == "ntu60" else (subjects, setup % 2 == 0):
        assert 0.2 < split.mean() < 0.8
    assert ((action > 60) == (setup > 17)).all() and camera.min() == 1 and camera.max() == 3


def test_every_combination_of_one_action_is_there_once():
    assert len(set(sample_names(17 * 3 * 11 * 2, actions=[7]))) == 1122
    later = sample_names(14 * 3 * 11 * 2, benchmark="ntu120", actions=[61])
    assert len({tuple(NAME.fullmatch(name).groups()) for name in later}) == 924


def test_few_actions_have_train_and_test_clips_each():
    names = sample_names(40, actions=[1, 50])
    for action in (1, 50):
        of_action = [NAME.fullmatch(n).groups() for n in names if n.endswith(f"A{action:03}")]
        assert len(of_action) == 20
        assert {int(performer) in TRAIN_60 for _, _, performer, _, _ in of_action} == {True, False}
        assert {camera for _, camera, *_ in of_action} == {"001", "002", "003"}


def test_set_has_every_case_and_is_the_same_for_a_seed(tmp_path):
    first = write_raw_set(tmp_path / "a", 60, seed=3)
    assert {e.case for e in first} == set(CASES)
    mutual = [e for e in first if 50 <= int(e.name[-3:]) <= 60]
    other = write_raw_set(tmp_path / "b", 8, seed=4, actions=range(1, 50))
    assert [e.case for e in other] != [e.case for e in first[:8]]  # cases are shuffled
    assert len(mutual) == 11 and {e.case for e in mutual} <= set(TOGETHER)
    for expected in first[::7]:
        content = (tmp_path / "a" / f"{expected.name}.skeleton").read_bytes()
        assert make_raw_file(expected.name, expected.case, seed=3) == (content, expected)
        assert make_raw_file(expected.name, expected.case, seed=4)[0] != content


def test_archive_holds_the_same_files(tmp_path):
    expected = write_raw_set(tmp_path / "a", 8)
    assert write_raw_set(tmp_path / "b", 8, zipped=True) == expected
    with zipfile.ZipFile(tmp_path / "b" / "nturgbd_skeletons_s001_to_s017.zip") as archive:
        assert len(archive.namelist()) == 8
        for name in (e.name for e in expected):
            content = (tmp_path / "a" / f"{name}.skeleton").read_bytes()
            assert archive.read(f"nturgb+d_skeletons/{name}.skeleton") == content


def test_archives_of_ntu120_are_two_and_equal_by_bytes(tmp_path):
    for folder in ("a", "b"):
        write_raw_set(tmp_path / folder, 4, benchmark="ntu120", actions=[1, 61], zipped=True)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"nturgbd_skeletons_s001_to_s017.zip", "nturgbd_skeletons_s018_to_s032.zip"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"num_files": 0}, "num_files is 0; expected 1 to"),
        ({"num_files": 2000, "actions": [1]}, "num_files is 2000; expected 1 to 1,122"),
        ({"num_files": 1, "actions": [61]}, r"actions are \[61\]; expected numbers from 1 to 60"),
        ({"num_files": 1, "actions": []}, "actions are"),
        ({"num_files": 1, "benchmark": "ntu61"}, "Did you mean 'ntu60'"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, arguments, named):
    with pytest.raises(UserError, match=named):
        write_raw_set(tmp_path / "raw", **arguments)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_with_raw_files_is_left_alone(tmp_path, zipped):
    write_raw_set(tmp_path, 1, zipped=zipped)
    with pytest.raises(UserError, match="holds raw files already"):
        write_raw_set(tmp_path, 1)


def test_unknown_case_is_named():
    with pytest.raises(UserError, match="Unknown case 'two bodie'. Did you mean 'two bodies'"):
        make_raw_file("S001C001P001R001A001", "two bodie")


def test_command_line_says_what_must_come_out(tmp_path):
    folder = str(tmp_path / "raw")
    done = CliRunner().invoke(app, ["data", "simulate-raw", folder, "--files", "12", "--seed", "4"])
    assert done.exit_code == 0
    expected = write_raw_set(tmp_path / "again", 12, seed=4)
    count = Counter(reason for e in expected for reason in e.dropped.values())
    empty = sum(e.case == "no body" for e in expected)
    assert f"12 raw files in {folder}, {empty} of them without any body" in done.stdout
    assert f"dropped: {count['short']} short, {count['spread']} too wide, " in done.stdout
    assert f", {count['no_slot']} without a slot" in done.stdout and count["short"] > 0
    assert "data prepare ntu60 --source" in done.stdout
    assert len(list(Path(folder).glob("*.skeleton"))) == 12


@pytest.mark.slow
def test_two_thousand_files_take_well_under_two_minutes_of_a_core(tmp_path):
    start = time.process_time()
    expected = write_raw_set(tmp_path, 2000, benchmark="ntu120")
    assert time.process_time() - start < 100
    assert len({e.name for e in expected}) == 2000
    sizes = [path.stat().st_size for path in tmp_path.glob("*.skeleton")]
    assert 100_000 < np.mean(sizes) < 400_000
