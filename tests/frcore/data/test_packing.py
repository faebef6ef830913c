"""Rows of frames against a loop over single numbers, and what packing them takes."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from frcore.data import packing
from frcore.data.packing import Packing, pack_frames
from frcore.skeleton import NTU25, UCLA20


def clips_of(skeleton, persons=2, seed=0):
    rng = np.random.default_rng(seed)
    clips = [rng.normal(size=(t, m, skeleton.num_joints, 3)) for t, m in ((5, 2), (1, 1), (9, 1))]
    clips += [rng.normal(size=(4, persons, skeleton.num_joints, 3)) + 2 for _ in range(4)]
    clips[0][:2, 0] = 0  # the first person comes late
    clips[3][1:3, -1] = 0
    clips.append(np.zeros((3, 1, skeleton.num_joints, 3)))
    return [clip.astype(np.float32) for clip in clips]


def row_by_loops(clip, t, how):
    """One frame, number by number."""
    out = np.zeros((how.channels, how.skeleton.num_joints, how.num_persons), dtype=np.float32)
    seen = [i for i in range(len(clip)) if clip[i, 0].any()]
    for c, v, m in np.ndindex(out.shape):
        person = m
        if m >= clip.shape[1]:
            if how.absent_person == "zero":
                continue
            person = 0
        if not clip[t, person].any():
            continue
        parent = how.skeleton.parents[v]
        middle = clip[seen[0], 0, how.skeleton.center, c] if how.center and seen else np.float32(0)
        out[c, v, m] = clip[t, person, v, c] - middle
        if how.bones and (parent != v or not how.keep_root):
            out[c, v, m] -= clip[t, person, parent, c] - middle
    return out.ravel()


@pytest.mark.parametrize("absent", ["zero", "copy"])
@pytest.mark.parametrize(("bones", "keep_root"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("center", [True, False])
def test_rows_are_those_of_plain_loops(center, bones, keep_root, absent, monkeypatch):
    monkeypatch.setattr(packing, "_PART", 3)  # so that there are several parts
    for skeleton, persons in product((NTU25, UCLA20), (1, 2)):
        how = Packing(
            skeleton,
            3,
            persons,
            center=center,
            bones=bones,
            keep_root=keep_root,
            absent_person=absent,
        )
        clips = clips_of(skeleton)
        frames = pack_frames(clips, how)
        expected = [row_by_loops(clip, t, how) for clip in clips for t in range(len(clip))]
        np.testing.assert_array_equal(frames.rows.numpy(), np.stack(expected))
        lengths = [len(clip) for clip in clips]
        assert frames.first.tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
        assert frames.present is None and frames.outline is None


def test_who_is_there_is_kept_where_minmax_needs_it():
    how = Packing(NTU25, 3, 2, center=True, outline=True)
    clips = clips_of(NTU25)
    frames = pack_frames(clips, how)
    expected = [
        [m < clip.shape[1] and clip[t, m].any() for m in range(2)]
        for clip in clips
        for t in range(len(clip))
    ]
    assert frames.present.tolist() == np.array(expected, dtype=float).tolist()
    assert pack_frames(clips[4:7], how).present is None  # all are there
    middle = clips[4][0, 0, 1]
    np.testing.assert_array_equal(frames.outline[4].amin(1), (clips[4] - middle).min((0, 1, 2)))
    np.testing.assert_array_equal(frames.outline[4].amax(1), (clips[4] - middle).max((0, 1, 2)))


@pytest.mark.parametrize("bones", [False, True])
def test_memory_holds_the_rows_once(bones, monkeypatch):
    monkeypatch.setattr(packing, "_PART", 20)
    clip = np.random.default_rng(0).normal(size=(80, 1, 25, 3)).astype(np.float32)
    clips = [clip] * 600
    size = 600 * 80 * 150 * 4  # two persons
    tracemalloc.start()
    try:
        frames = pack_frames(clips, Packing(NTU25, 3, 2, center=True, bones=bones))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert frames.rows.nbytes == size
    assert peak < 1.15 * size
