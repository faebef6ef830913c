"""Batched decoding and augmentation against a per-sample NumPy reference, and what it promises."""

import random
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from frcore.config import TransformConfig
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import Benchmark
from frcore.data.random import epoch_order, random_uniform
from frcore.data.store import ClipRecord, write_store
from frcore.errors import UserError
from frcore.skeleton import COCO17, NTU25, UCLA20

STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
BODIES = {"ucla20": (UCLA20, 3, 1), "ntu25": (NTU25, 3, 2), "coco17": (COCO17, 2, 2)}
AUGMENT = {"rotation": (17.0, 60.0, 30.0), "scale": (0.5, 1.5)}


def make_clips(skeleton, channels, persons, seed=0):
    """Clips of 1 to 120 frames, away from the origin: flat, frozen, with persons missing."""
    rng = np.random.default_rng(seed)
    clips = []
    for frames in (1, 2, 3, 7, 31, 52, 63, 64, 65, 66, 120):
        shape = (frames, persons, skeleton.num_joints, channels)
        walk = np.cumsum(rng.normal(0, 0.02, shape), axis=0)
        clips.append(walk + rng.normal(0, 0.5, shape[1:]) + np.array([0.3, -0.2, 3.0])[:channels])
    clips[3][..., -1] = 2.5  # a flat axis
    clips.append(np.full((5, persons, skeleton.num_joints, channels), 1.25))  # a single point
    clips.append(clips[4][:, :, :, :] * np.array([1, 0, 0])[:channels])  # a line
    if persons == 2:
        clips[5][10:20, 1] = 0  # the second person leaves and returns
        clips[6][:4, 0] = 0  # the first person comes late
        clips[7] = clips[7][:, :1]  # a clip of one person
        clips[8][:, 1] = 0
    clips.append(np.zeros((4, 1, skeleton.num_joints, channels)))  # nobody at all
    return [c.astype(np.float32) for c in clips]


def device_clips(body="ntu25", seed=0):
    clips = make_clips(*BODIES[body], seed=seed)
    return clips, DeviceClips.from_clips(
        clips, range(len(clips)), [f"clip{i}" for i in range(len(clips))]
    )


def pipeline(body="ntu25", training=True, seed=0, stream="joint", **transform):
    clips, packed = device_clips(body)
    config = TransformConfig(**({"frames": 64} | AUGMENT | transform))
    skeleton, _, persons = BODIES[body]
    return clips, ClipPipeline(
        packed,
        skeleton,
        config,
        stream=stream,
        num_persons=persons,
        training=training,
        seed=seed,
    )


# The reference: one clip, plain loops, float64.


def reference_rotation(u, config):
    degrees = []
    for limit, share in zip(config.rotation, u, strict=True):
        if config.whole_degrees:
            degrees.append(int(share * (2 * int(limit) + 1)) - int(limit))
        else:
            degrees.append(-limit + 2 * limit * share)
    x, y, z = np.radians(degrees)
    about = {
        "x": [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]],
        "y": [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]],
        "z": [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]],
    }
    first, second, third = (np.array(about[axis]) for axis in config.rotation_order)
    return third @ second @ first


def reference_drawn(length, u, frames):
    """The first distinct of the numbers drawn, as a sample of every frame repeated 100 times."""
    drawn = [int(x * 100 * length) for x in u]
    kept, repeats = [], []
    for number in drawn:
        (repeats if number in kept or len(kept) == frames else kept).append(number)
    kept += repeats[: frames - len(kept)]
    return [number // 100 for number in sorted(kept)]


def reference_resize(x, frames):
    flat = torch.from_numpy(x.reshape(1, len(x), -1)).permute(0, 2, 1)
    flat = torch.nn.functional.interpolate(flat, size=frames, mode="linear", align_corners=False)
    return flat[0].T.reshape(frames, *x.shape[1:]).numpy()


def reference_sample(x, u, config):
    length = len(x)
    if config.sampling == "random_frames":
        if u is None:
            return x[np.linspace(0, length - 1, config.frames).astype(int)]
        return x[reference_drawn(length, u[6:], config.frames)]
    if u is None:
        bias = int((1 - config.test_crop) * length / 2)
        return reference_resize(x[bias : length - bias], config.frames)
    share = config.crop[0] + (config.crop[1] - config.crop[0]) * u[4]
    kept = min(max(int(np.floor(length * share)), config.frames), length)
    start = int(u[5] * (length - kept + 1))
    return reference_resize(x[start : start + kept], config.frames)


def reference(clip, u, config, skeleton, stream, persons):
    frames_in, persons_in, joints, channels = clip.shape
    x = np.zeros((frames_in, persons, joints, channels))
    there = [
        (t, m)
        for t, m in product(range(frames_in), range(min(persons, persons_in)))
        if clip[t, m].any()
    ]
    first = next((t for t in range(frames_in) if clip[t, 0].any()), 0)
    center = clip[first, 0, skeleton.center].astype(np.float64) * config.center
    matrix = np.eye(3)
    if u is not None:
        matrix = reference_rotation(u[:3], config)
        matrix = matrix * (config.scale[0] + (config.scale[1] - config.scale[0]) * u[3])
    for t, m in there:
        x[t, m] = (clip[t, m] - center) @ matrix[:channels, :channels].T
    if config.normalize == "minmax" and there:
        cloud = np.concatenate([x[t, m] for t, m in there])
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        half = [1 if h - a < 1e-5 else (h - a) / 2 for a, h in zip(low, high, strict=True)]
        for t, m in there:
            x[t, m] = (x[t, m] - (low + high) / 2) / half
    x = reference_sample(x, u, config)
    if "bone" in stream:
        bones = np.zeros_like(x)
        for child, parent in skeleton.bones:
            bones[:, :, child] = x[:, :, child] - x[:, :, parent]
        x = bones
    if "motion" in stream:
        x = np.concatenate([x[1:] - x[:-1], np.zeros_like(x[:1])])
    return x.transpose(3, 0, 2, 1)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("normalize", ["minmax", "none"])
@pytest.mark.parametrize("sampling", ["random_frames", "crop_resize"])
@pytest.mark.parametrize("body", BODIES)
def test_every_stream_equals_the_per_sample_reference(body, sampling, normalize, training):
    skeleton, _, persons = BODIES[body]
    center = body != "coco17" or normalize == "none"
    for stream in STREAMS:
        clips, pipe = pipeline(
            body, training, 3, stream, sampling=sampling, normalize=normalize, center=center
        )
        index = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
        got = pipe(index, epoch=2, repeat=1).numpy()
        assert got.dtype == np.float32 and got.flags["C_CONTIGUOUS"]
        keys = pipe.clips.keys[index]
        draws = random_uniform(keys, 134, seed=3, epoch=2, purpose="augment", repeat=1).numpy()
        for row, i in enumerate(index.tolist()):
            u = draws[row] if training else None
            expected = reference(clips[i], u, pipe.transform, skeleton, stream, persons)
            np.testing.assert_allclose(got[row], expected, atol=1e-5, err_msg=f"{stream} {i}")


@pytest.mark.parametrize(
    "changes",
    [
        {"whole_degrees": True},
        {"scale": (1, 1)},
        {"rotation": (0, 0, 0)},
        {"rotation_order": "xyz"},
    ],
)
@pytest.mark.parametrize("normalize", ["minmax", "none"])
def test_each_augmentation_equals_the_reference_alone(changes, normalize):
    clips, pipe = pipeline("ucla20", frames=52, normalize=normalize, **changes)
    got = pipe(torch.arange(len(clips))).numpy()
    draws = random_uniform(pipe.clips.keys, 110, seed=0, epoch=0, purpose="augment").numpy()
    for i, clip in enumerate(clips):
        expected = reference(clip, draws[i], pipe.transform, UCLA20, "joint", 1)
        np.testing.assert_allclose(got[i], expected, atol=1e-5)


def test_whole_clip_minmax_fills_the_unit_range_of_every_axis_that_is_not_flat():
    rng = np.random.default_rng(1)
    clips = [rng.normal(0, 1, (t, 1, 20, 3)).astype(np.float32) + 2 for t in (40, 52)]
    flat = clips[0].copy()
    flat[..., 1] = 7
    packed = DeviceClips.from_clips([*clips, flat], [0, 0, 0], ["a", "b", "c"])
    config = TransformConfig(frames=52, sampling="random_frames", normalize="minmax")
    out = ClipPipeline(packed, UCLA20, config)(torch.arange(3)).flatten(2)
    torch.testing.assert_close(out[:2].amin(2), -torch.ones(2, 3))
    torch.testing.assert_close(out[:2].amax(2), torch.ones(2, 3))
    assert out[2, 1].abs().max() == 0 and out[2, 0].abs().max() > 0.99


@pytest.mark.parametrize("frames", [52, 64])
def test_evaluation_frames_are_numpys_linspace_truncated(frames):
    clips = [np.arange(1, t + 1, dtype=np.float32).reshape(t, 1, 1, 1) for t in range(1, 301)]
    clips = [np.broadcast_to(c, (len(c), 1, 17, 2)) for c in clips]
    packed = DeviceClips.from_clips(clips, [0] * 300, [str(i) for i in range(300)])
    config = TransformConfig(frames=frames, sampling="random_frames", center=False)
    got = ClipPipeline(packed, COCO17, config)(torch.arange(300))[:, 0, :, 0, 0].numpy() - 1
    for t in range(1, 301):
        assert (got[t - 1] == np.linspace(0, t - 1, frames).astype(int)).all()


def test_random_frames_are_a_sample_without_replacement():
    """A frame's count among 64 of 3 x 100 is hypergeometric, as with `random.sample`."""
    rows, frames = 6000, 64
    clip = np.ones((3, 1, 17, 2), dtype=np.float32) * np.array([1, 2, 3])[:, None, None, None]
    packed = DeviceClips.from_clips([clip], [0], ["a"])
    config = TransformConfig(frames=frames, sampling="random_frames", center=False)
    pipe = ClipPipeline(packed, COCO17, config, training=True)
    got = pipe(torch.zeros(rows, dtype=torch.int64), repeat=torch.arange(rows))
    got = got[:, 0, :, 0, 0].numpy()
    assert (np.diff(got) >= 0).all()
    law = stats.hypergeom(300, 100, frames)
    everything = [f for f in range(3) for _ in range(100)]
    draw = random.Random(0)
    plain = [[draw.sample(everything, frames).count(f) for f in range(3)] for _ in range(2000)]
    for frame in range(3):
        ours = (got == frame + 1).sum(axis=1)
        for counts in (ours, np.array(plain)[:, frame]):
            middle = np.arange(14, 30)
            observed = [np.sum(counts < 14), *(np.sum(counts == c) for c in middle)]
            expected = [law.cdf(13), *law.pmf(middle)]
            observed.append(len(counts) - sum(observed))
            expected.append(1 - sum(expected))
            expected = np.array(expected) * len(counts)
            assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("sampling", ["random_frames", "crop_resize"])
@pytest.mark.parametrize("normalize", ["minmax", "none"])
def test_output_does_not_change_with_batch_order_or_size(sampling, normalize):
    clips, pipe = pipeline(sampling=sampling, normalize=normalize, stream="bone_motion")
    index = torch.arange(len(clips)).repeat(5)
    repeat = torch.arange(5).repeat_interleave(len(clips))
    whole = pipe(index, epoch=1, repeat=repeat)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(1))
    assert torch.equal(pipe(index[order], epoch=1, repeat=repeat[order]), whole[order])
    for i in range(0, len(index), 9):
        assert torch.equal(pipe(index[i : i + 1], epoch=1, repeat=int(repeat[i])), whole[i : i + 1])
    for part in order.split(7):
        assert torch.equal(pipe(index[part], epoch=1, repeat=repeat[part]), whole[part])


@pytest.mark.parametrize("sampling", ["random_frames", "crop_resize"])
def test_another_seed_epoch_repeat_or_sample_draws_anew(sampling):
    clip = make_clips(UCLA20, 3, 1)[-4]
    packed = DeviceClips.from_clips([clip, clip], [0, 0], ["one", "two"])
    config = TransformConfig(frames=64, sampling=sampling, **AUGMENT)

    def batch(seed=0, **when):
        pipe = ClipPipeline(packed, UCLA20, config, training=True, seed=seed)
        return pipe(torch.tensor([0, 1]), **when)

    same, base = batch(), batch()
    assert torch.equal(same, base) and not torch.equal(base[0], base[1])
    for other in (batch(seed=1), batch(epoch=1), batch(repeat=1)):
        assert not torch.isclose(other[0], base[0]).all()


@pytest.mark.parametrize("sampling", ["random_frames", "crop_resize"])
def test_evaluation_uses_no_random_number(sampling, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a random number was drawn")

    monkeypatch.setattr("frcore.data.augment.random_uniform", refuse)
    first = pipeline(training=False, seed=0, sampling=sampling, normalize="minmax")[1]
    second = pipeline(training=False, seed=5, sampling=sampling, normalize="minmax")[1]
    index = torch.arange(len(first.clips))
    assert torch.equal(first(index, epoch=0), second(index, epoch=9, repeat=2))


class Operators(TorchDispatchMode):
    """Counts operators and refuses those that wait for the device."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.waiting, name
        if name.startswith("index") and isinstance(args[1], list | tuple):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "boolean mask"
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampling", ["random_frames", "crop_resize"])
@pytest.mark.parametrize("normalize", ["minmax", "none"])
def test_a_batch_never_waits_for_the_device_and_takes_a_bounded_number_of_operators(
    sampling, normalize
):
    counts = []
    for size, training in product((4, 14), (True, False)):
        _, pipe = pipeline(
            training=training, stream="bone_motion", sampling=sampling, normalize=normalize
        )
        with Operators() as operators:
            pipe(torch.arange(size), epoch=3, repeat=torch.zeros(size, dtype=torch.int64))
        counts.append(operators.count)
    assert counts[:2] == counts[2:], "the number of operators must not depend on the batch"
    assert counts[0] < 260 and counts[1] < 120


def test_clips_know_their_labels_ids_and_size():
    clips, packed = device_clips("ucla20")
    assert len(packed) == len(clips) and packed.labels.tolist() == list(range(len(clips)))
    assert packed.num_frames.tolist() == [len(c) for c in clips]
    assert "14 clips, 20 joints" in repr(packed)
    index, _ = epoch_order(packed.keys, seed=0, epoch=0)
    assert sorted(index.tolist()) == list(range(len(clips)))


def test_only_the_chosen_rows_of_a_store_are_loaded(tmp_path):
    clips = make_clips(UCLA20, 3, 1)[:6]
    splits = ["train", "test", "train", "test", "test", "train"]
    benchmark = Benchmark("mine", UCLA20, ("a", "b"), 1, 52, ("split",))
    records = [
        ClipRecord(f"s{i}", i % 2, clip, {"split": split})
        for i, (clip, split) in enumerate(zip(clips, splits, strict=True))
    ]
    store = write_store(tmp_path / "mine", benchmark, records)
    packed = DeviceClips.from_store(store, store.split("test"), "cpu")
    assert packed.sample_ids == ["s1", "s3", "s4"] and packed.labels.tolist() == [1, 1, 0]
    assert packed.num_frames.tolist() == [2, 7, 31]
    for array, i in zip(packed.arrays, (1, 3, 4), strict=True):
        assert np.array_equal(array, clips[i])


def test_absent_persons_are_zero_or_copies_of_the_first():
    one, two = make_clips(NTU25, 3, 1)[4], make_clips(NTU25, 3, 2)[4]
    clips = DeviceClips.from_clips([one, two], [0, 1], ["one", "two"])
    config = TransformConfig(frames=16)
    both = {
        kind: ClipPipeline(clips, NTU25, config, num_persons=2, absent_person=kind)
        for kind in ("zero", "copy")
    }
    zero, copy = (pipe(torch.arange(2)) for pipe in both.values())  # (2, C, F, V, M)
    assert not zero[0, ..., 1].any()
    assert torch.equal(copy[0, ..., 1], copy[0, ..., 0]) and copy[0].any()
    assert torch.equal(copy[0, ..., 0], zero[0, ..., 0])
    assert torch.equal(copy[1], zero[1])  # a clip of two persons is as it was


def test_mistakes_are_named():
    _, packed = device_clips("ucla20")
    with pytest.raises(UserError, match="20 joints, skeleton 'ntu25' has 25"):
        ClipPipeline(packed, NTU25, TransformConfig(frames=64))
    with pytest.raises(UserError, match="needs transform.frames"):
        ClipPipeline(packed, UCLA20, TransformConfig())
    with pytest.raises(UserError, match="Unknown stream 'bones'. Did you mean 'bone'"):
        ClipPipeline(packed, UCLA20, TransformConfig(), stream="bones")
    with pytest.raises(UserError, match="no clips"):
        DeviceClips.from_clips([], [], [])
