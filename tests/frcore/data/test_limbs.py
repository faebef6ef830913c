"""Random limb scaling: lengths change, by clip and alike on both sides; nothing else does."""

import numpy as np
import pytest
import torch

from frcore.config import TransformConfig, load_recipe
from frcore.config_errors import ConfigError
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.limbs import LimbScaling
from frcore.data.packing import Packing
from frcore.data.random import random_uniform, sample_keys
from frcore.skeleton import COCO17, NTU25, UCLA20

BODIES = {"ntu25": (NTU25, 3, 2), "ucla20": (UCLA20, 3, 1), "coco17": (COCO17, 2, 2)}
LIMBS = (0.8, 1.2)


def make_clips(skeleton, channels, persons, count=6):
    rng = np.random.default_rng(3)
    clips = [
        rng.normal(size=(20 + 17 * i, persons, skeleton.num_joints, channels)) + 2
        for i in range(count)
    ]
    if persons == 2:
        clips[1] = clips[1][:, :1]  # a clip of one person
        clips[2][5:9, 1] = 0  # the second one leaves and returns
    return [clip.astype(np.float32) for clip in clips]


def pipeline(body="ntu25", limbs=LIMBS, stream="joint", absent_person="zero", **more):
    skeleton, channels, persons = BODIES[body]
    clips = make_clips(skeleton, channels, persons)
    packed = DeviceClips.from_clips(clips, range(len(clips)), [f"c{i}" for i in range(len(clips))])
    config = TransformConfig(frames=16, limb_scale=limbs, **more.pop("transform", {}))
    options = {"stream": stream, "num_persons": persons, "absent_person": absent_person}
    return ClipPipeline(
        packed, skeleton, config, **options, **{"training": True, "seed": 4, **more}
    )


def batch(pipe, **when):
    return pipe(torch.arange(len(pipe.clips)), **when)  # (n, C, F, V, M)


def scaled_by_loops(x, skeleton, u, limits):
    """Joints (C, F, V, M) of one clip, from the root outward, with factors from `u` (V,)."""
    mirror = {joint: joint for joint in range(skeleton.num_joints)}
    for left, right in skeleton.left_right:
        mirror[left], mirror[right] = right, left
    out, done = np.array(x, dtype=np.float64), {skeleton.root}
    while len(done) < skeleton.num_joints:
        for child, parent in skeleton.bones:
            if parent in done and child not in done:
                own, other = (
                    limits[0] + (limits[1] - limits[0]) * u[j] for j in (child, mirror[child])
                )
                bone = x[:, :, child] - x[:, :, parent]
                out[:, :, child] = out[:, :, parent] + (own + other) / 2 * bone
                done.add(child)
    return out


def as_stream(x, skeleton, stream):
    if "bone" in stream:
        parents = skeleton.parents
        x = x - x[:, :, parents]
    if "motion" in stream:
        x = np.concatenate([x[:, 1:] - x[:, :-1], np.zeros_like(x[:, :1])], axis=1)
    return x


@pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
@pytest.mark.parametrize("body", BODIES)
def test_every_stream_equals_the_per_sample_reference(body, stream):
    skeleton, _, _ = BODIES[body]
    plain = batch(pipeline(body, limbs=(1, 1)), epoch=2, repeat=1).numpy()
    pipe = pipeline(body, stream=stream)
    found = batch(pipe, epoch=2, repeat=1).numpy()
    when = {"seed": 4, "epoch": 2, "repeat": 1}
    numbers = random_uniform(pipe.clips.keys, skeleton.num_joints, purpose="limbs", **when).numpy()
    for own, joints, u in zip(found, plain, numbers, strict=True):
        expected = as_stream(scaled_by_loops(joints, skeleton, u, LIMBS), skeleton, stream)
        np.testing.assert_allclose(own, expected, atol=3e-6)


@pytest.mark.parametrize("body", BODIES)
def test_bones_keep_their_direction_and_change_their_length_for_the_whole_clip(body):
    skeleton, channels, persons = BODIES[body]
    turned = {"transform": {"rotation": (17, 60, 30)}}
    bones = [batch(pipeline(body, limbs, "bone", **turned)) for limbs in (LIMBS, (1, 1))]
    children = [child for child, _ in skeleton.bones]
    scaled, plain = (b[:, :, :, children].double() for b in bones)
    ratio = (scaled * plain).sum(1) / (plain * plain).sum(1)  # (n, F, E, M)
    torch.testing.assert_close(scaled, ratio[:, None].nan_to_num() * plain, atol=1e-5, rtol=0)
    there = ~ratio.isnan()
    low = torch.where(there, ratio, 9).amin(dim=(1, 3))
    high = torch.where(there, ratio, 0).amax(dim=(1, 3))
    torch.testing.assert_close(low, high, atol=2e-4, rtol=0)  # frames and persons alike
    assert low.min() >= 0.8 and high.max() <= 1.2 and (high - 1).abs().max() > 0.1
    where = {child: place for place, child in enumerate(children)}
    for left, right in skeleton.left_right:
        torch.testing.assert_close(low[:, where[left]], low[:, where[right]], atol=2e-4, rtol=0)
    assert (low[1] - low[0]).abs().max() > 0.05  # each clip has its own


def test_the_root_stays_where_it_is_and_no_other_random_number_moves():
    more = {"rotation": (17, 60, 30), "scale": (0.5, 1.5)}
    scaled, plain = (batch(pipeline(limbs=limbs, transform=more)) for limbs in (LIMBS, (1, 1)))
    torch.testing.assert_close(scaled[:, :, :, NTU25.root], plain[:, :, :, NTU25.root])
    assert (scaled - plain).abs().max() > 0.1


def test_absent_persons_stay_zero_and_copies_stay_copies():
    zero = batch(pipeline())
    assert not zero[1, ..., 1].any() and zero[1, ..., 0].any()
    copy = batch(pipeline(absent_person="copy"))
    assert torch.equal(copy[1, ..., 1], copy[1, ..., 0])
    absent = batch(pipeline(limbs=(1, 1), transform={"crop": (1, 1)}))[2, ..., 1].any(0) == 0
    scaled = batch(pipeline(transform={"crop": (1, 1)}))[2, ..., 1].any(0) == 0
    assert absent.any() and torch.equal(absent, scaled)


def test_factors_are_uniform_for_the_trunk_and_means_of_two_for_limbs():
    keys = sample_keys(map(str, range(20_000)))
    scaling = LimbScaling(Packing(NTU25, 3, 1, bones=True), LIMBS, torch.device("cpu"))
    factors = scaling.factors(keys, seed=0, epoch=0, repeat=0).double()
    assert (factors[:, NTU25.root] == 1).all()
    neck, elbow = factors[:, 2], factors[:, 5]
    for drawn, spread in ((neck, 0.4 / 12**0.5), (elbow, 0.4 / 24**0.5)):
        assert abs(drawn.mean() - 1) < 0.003 and abs(drawn.std() - spread) < 0.002
        assert drawn.min() >= 0.8 and drawn.max() <= 1.2
    assert torch.equal(elbow, factors[:, 9]) and not torch.equal(elbow, factors[:, 6])
    for other in ({"seed": 1}, {"epoch": 1}, {"repeat": 1}):
        drawn = scaling.factors(keys, **{"seed": 0, "epoch": 0, "repeat": 0, **other})
        assert (drawn[:, 2] != factors[:, 2].float()).float().mean() > 0.99


def test_evaluation_scales_nothing():
    scaled, plain = (batch(pipeline(limbs=limbs, training=False)) for limbs in (LIMBS, (1, 1)))
    assert torch.equal(scaled, plain)


def test_clips_come_out_alike_whatever_their_batch():
    pipe = pipeline(transform={"rotation": (17, 17, 17)})
    whole = batch(pipe, epoch=1)
    for i in range(len(whole)):
        assert torch.equal(pipe(torch.tensor([i]), epoch=1)[0], whole[i])


def test_min_max_over_the_clip_is_refused_with_it():
    base = {"name": "x", "benchmark": "ntu60"}
    changes = {"data.transform.limb_scale": [0.8, 1.2], "data.transform.normalize": "minmax"}
    with pytest.raises(ConfigError, match="limb_scale: works with normalize 'none' only"):
        load_recipe(base, changes)
    with pytest.raises(ConfigError, match=r"limb_scale: must be \(low, high\) with 0 < low"):
        load_recipe(base, {"data.transform.limb_scale": [1.2, 0.8]})
