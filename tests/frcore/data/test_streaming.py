"""Clips that are read batch by batch give what resident ones give, bit for bit."""

import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from frcore.config import TransformConfig
from frcore.data import augment
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import Benchmark
from frcore.data.store import ClipRecord, write_store
from frcore.skeleton import COCO17, NTU25, UCLA20

BODIES = {"ntu25": (NTU25, 3, 2), "ucla20": (UCLA20, 3, 1), "coco17": (COCO17, 2, 2)}
STREAMS = ("joint", "bone", "joint_motion", "bone_motion")


def make_clips(skeleton, channels, persons):
    rng = np.random.default_rng(1)
    clips = [
        rng.normal(size=(frames, persons, skeleton.num_joints, channels)) + 2
        for frames in (1, 2, 30, 63, 64, 65, 90, 17, 40)
    ]
    if persons == 2:
        clips[2] = clips[2][:, :1]
        clips[3][5:9, 1] = 0
        clips[6][:3, 0] = 0
    clips.append(np.zeros((4, 1, skeleton.num_joints, channels)))
    return [clip.astype(np.float32) for clip in clips]


def both(body, *, stream="joint", absent_person="zero", training=True, **transform):
    """The same pipeline twice: resident and streamed."""
    skeleton, channels, persons = BODIES[body]
    clips = make_clips(skeleton, channels, persons)
    packed = DeviceClips.from_clips(clips, range(len(clips)), [f"c{i}" for i in range(len(clips))])
    options = {
        "stream": stream,
        "num_persons": persons,
        "absent_person": absent_person,
        "training": training,
        "seed": 2,
    }
    config = TransformConfig(frames=24, **transform)
    return [
        ClipPipeline(packed, skeleton, config, resident=resident, **options)
        for resident in (True, False)
    ]


def ragged_batches(count):
    """Every clip three times, in an order of its own, in batches of 7, 1, 7, ..."""
    index = torch.arange(count).repeat(3)
    repeat = torch.arange(3).repeat_interleave(count)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))
    sizes = [7, 1] * (len(index) // 8) + [len(index) % 8]
    return list(zip(index[order].split(sizes), repeat[order].split(sizes), strict=True))


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("frcore-prefetch")]


TRANSFORMS = {
    "ntu": {"rotation": (17, 17, 17), "limb_scale": (0.8, 1.2)},
    "nw_ucla": {
        "sampling": "random_frames",
        "normalize": "minmax",
        "rotation": (60, 60, 0),
        "scale": (0.5, 1.5),
    },
    "plain": {"center": False},
    "minmax": {"normalize": "minmax"},
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("body", BODIES)
def test_streamed_batches_have_the_bits_of_resident_ones(body, transform, training):
    for stream, absent in zip(STREAMS, ("zero", "copy", "copy", "zero"), strict=True):
        more = {"training": training, **TRANSFORMS[transform]}
        resident, streamed = both(body, stream=stream, absent_person=absent, **more)
        batches = ragged_batches(len(resident.clips))
        made = zip(
            batches, *(p.batches(batches, epoch=3) for p in (resident, streamed)), strict=True
        )
        for (index, repeat), one, other in made:
            assert torch.equal(one, other)
            assert torch.equal(streamed(index, epoch=3, repeat=repeat), one)
    assert workers() == []


def test_a_stream_reads_the_clips_of_its_batches_alone(monkeypatch):
    _, streamed = both("ntu25")
    packed = []

    def watched(clips, *args, **options):
        packed.append(list(clips))
        return pack(clips, *args, **options)

    pack = augment.pack_frames
    monkeypatch.setattr(augment, "pack_frames", watched)
    batches = [(torch.tensor([4, 2]), 0), (torch.tensor([7]), 0)]
    assert len(list(streamed.batches(batches))) == 2
    found = sorted(sorted(len(clip) for clip in clips) for clips in packed)
    assert found == [[17], [30, 64]] and not streamed.resident and streamed.size > 0


def test_clips_come_from_the_stores_file_not_from_memory(tmp_path):
    clips = make_clips(NTU25, 3, 2)
    record = Benchmark("mine", NTU25, ("a",), 2, 64, ("split",))
    records = [ClipRecord(f"c{i}", 0, clip, {"split": "train"}) for i, clip in enumerate(clips)]
    store = write_store(tmp_path / "mine", record, records)
    split = DeviceClips.from_store(store, store.split("train"))
    assert all(np.shares_memory(clip, store.frames) for clip in split.arrays)
    config = TransformConfig(frames=16)
    streamed = ClipPipeline(split, NTU25, config, num_persons=2, resident=False)
    resident = ClipPipeline(split, NTU25, config, num_persons=2)
    index = torch.arange(len(clips))
    assert torch.equal(streamed(index), resident(index))


def test_a_loop_that_stops_early_leaves_no_thread():
    _, streamed = both("ntu25")
    batches = ragged_batches(len(streamed.clips))
    with closing(streamed.batches(batches)) as made:
        next(made)
        assert workers() != []
    assert workers() == []


def test_an_error_while_reading_reaches_the_loop(monkeypatch):
    _, streamed = both("ntu25")

    def broken(clips, *args, **options):
        raise OSError("the disk is gone")

    monkeypatch.setattr(augment, "pack_frames", broken)
    with (
        pytest.raises(OSError, match="disk is gone"),
        closing(streamed.batches(ragged_batches(5))) as made,
    ):
        next(made)
    assert workers() == []
