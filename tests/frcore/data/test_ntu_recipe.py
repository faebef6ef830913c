"""The whole NTU recipe, from shipped YAML to a batch, against a per-sample feeder written here."""

import numpy as np
import pytest
import torch

from frcore.config import load_recipe
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import NTU60, NTU120
from frcore.data.random import random_uniform

LENGTHS = (11, 63, 64, 65, 80, 127, 128, 129, 240, 300)
# 1-based (child, parent), as the papers number NTU's joints; 21 is the root.
BONES = (
    (1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9), (11, 10),
    (12, 11), (13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19),
    (22, 23), (23, 8), (24, 25), (25, 12),
)  # fmt: skip
MIRROR = {5: 9, 6: 10, 7: 11, 8: 12, 13: 17, 14: 18, 15: 19, 16: 20, 22: 24, 23: 25}
MIRROR |= {right: left for left, right in MIRROR.items()}


def raw_clips():
    """Clips (T, M, 25, 3) in a camera's frame, of one person and of two in turn."""
    rng = np.random.default_rng(8)
    clips = []
    for number, length in enumerate(LENGTHS):
        walk = np.cumsum(rng.normal(0, 0.02, (length, 1 + number % 2, 25, 3)), axis=0)
        clips.append((walk + rng.normal(0, 0.5, walk.shape[1:]) + (0.3, -0.2, 3)).astype("f4"))
    clips[3][5:9, 1] = 0  # the second person leaves and returns
    return clips


def centred(clip, copy):
    """Joint 2 of the first frame at the origin; slot 2 of a one-person clip zero or a copy."""
    out = np.zeros((len(clip), 2, 25, 3))
    out[:, : clip.shape[1]] = clip
    for t in range(len(clip)):
        for m in range(clip.shape[1]):
            if clip[t, m].any():
                out[t, m] -= clip[0, 0, 1]
    if copy and clip.shape[1] == 1:
        out[:, 1] = out[:, 0]
    return out


def resized(x, frames=64):
    """Bilinear, half-pixel centres: torch's own, on an image of one row a coordinate."""
    image = torch.from_numpy(x.reshape(1, 1, len(x), -1)).transpose(2, 3)
    size = (image.shape[2], frames)
    image = torch.nn.functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
    return image[0, 0].T.reshape(frames, *x.shape[1:]).numpy()


def cropped(x, u):
    n = len(x)
    if u is None:
        bias = int(0.05 * n / 2)
        return x[bias : n - bias]
    kept = np.clip(np.floor(n * (0.5 + 0.5 * u[4])), 64, None)
    kept = int(min(kept, n))
    start = int(u[5] * (n - kept + 1))
    return x[start : start + kept]


def rotated(x, u):
    ax, ay, az = (0.3 * (2 * share - 1) for share in u[:3])
    about_x = [[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]]
    about_y = [[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]]
    about_z = [[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]]
    matrix = np.array(about_z) @ about_y @ about_x
    return np.einsum("ij,tmvj->tmvi", matrix, x)


def limbs_scaled(x, u):
    factor = {child: 0.8 + 0.4 * u[child - 1] for child, _ in BONES}
    out, waiting = x.copy(), list(BONES)
    placed = {21}
    while waiting:
        child, parent = waiting.pop(0)
        if parent not in placed:
            waiting.append((child, parent))
            continue
        scale = (factor[child] + factor[MIRROR.get(child, child)]) / 2
        bone = x[:, :, child - 1] - x[:, :, parent - 1]
        out[:, :, child - 1] = out[:, :, parent - 1] + scale * bone
        placed.add(child)
    return out


def streamed(x, stream):
    if stream.startswith("bone"):
        joints, x = x, np.zeros_like(x)
        for child, parent in BONES:
            x[:, :, child - 1] = joints[:, :, child - 1] - joints[:, :, parent - 1]
    if stream.endswith("motion"):
        frames, x = x, np.zeros_like(x)
        for t in range(len(x) - 1):
            x[t] = frames[t + 1] - frames[t]
    return x.transpose(3, 0, 2, 1)  # (C, F, V, M)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
@pytest.mark.parametrize("benchmark", [NTU60, NTU120], ids=lambda record: record.name)
def test_a_batch_of_a_shipped_recipe_is_that_of_the_published_feeder(benchmark, stream, training):
    clips = raw_clips()
    config = load_recipe(f"{benchmark.name}_xsub_{stream}_frhead", {"seed": 5})
    packed = DeviceClips.from_clips(clips, [0] * len(clips), [f"S{i}" for i in range(len(clips))])
    pipe = ClipPipeline(
        packed,
        benchmark.skeleton,
        config.data.transform.with_frames(benchmark.num_frames),
        stream=config.data.stream,
        num_persons=benchmark.num_persons,
        absent_person=benchmark.absent_person,
        training=training,
        seed=config.seed,
    )
    found = pipe(torch.arange(len(clips)), epoch=7).numpy()
    assert found.shape == (len(clips), 3, 64, 25, 2)
    when = {"seed": 5, "epoch": 7}
    numbers = random_uniform(packed.keys, 6, purpose="augment", **when).numpy()
    limbs = random_uniform(packed.keys, 25, purpose="limbs", **when).numpy()
    for clip, own, u, v in zip(clips, found, numbers, limbs, strict=True):
        x = centred(clip, copy=benchmark is NTU120)
        x = resized(cropped(x, u if training else None))
        if training:
            x = limbs_scaled(rotated(x, u), v)
        np.testing.assert_allclose(own, streamed(x, stream), atol=2e-5)


def test_the_centre_crop_leaves_out_what_the_published_one_does():
    lengths = np.arange(1, 1001)
    ours = ((1 - 0.95) * torch.from_numpy(lengths).double() / 2).long().numpy()
    assert ours.tolist() == [int(0.05 * n / 2) for n in lengths]
