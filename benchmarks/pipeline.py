"""Times the data pipeline on one core against a per-sample feeder of the published structure.

    python benchmarks/pipeline.py                 # 4,000 clips of NTU's lengths; half a minute
    python benchmarks/pipeline.py --quick
    python benchmarks/pipeline.py --out results/bench_pipeline.json

The feeder does what the published one does for each sample, from arrays padded to 300 frames: count
the frames that are not zero, crop, resize, turn, scale limbs, subtract parents joint by joint. It
gets our random numbers, and its samples are checked to equal ours. Rates are by a core's own time
(what other programs take of it does not count), medians of rounds in which all take turns.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from records import machine, write

from frcore.config import load_recipe
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import NTU60
from frcore.data.packing import pack_frames
from frcore.data.random import random_uniform

PADDED, BATCH, ROUNDS, QUICK_ROUNDS = 300, 64, 5, 2
TARGET = 20  # times the feeder

log = logging.getLogger(__name__)


class PublishedFeeder:
    """One sample at a time, as the published code makes them, from padded clips (N, 300, 150)."""

    def __init__(self, padded: np.ndarray, config: Any, stream: str) -> None:
        self.padded, self.transform, self.stream = padded, config, stream
        skeleton = NTU60.skeleton
        self.bones, self.root = skeleton.bones, skeleton.root
        self.outward = sorted(
            self.bones, key=lambda bone: skeleton.hop_distance[self.root, bone[0]]
        )
        self.mirror = dict(skeleton.left_right) | {r: le for le, r in skeleton.left_right}

    def __call__(self, row: int, u: np.ndarray, limbs: np.ndarray | None) -> np.ndarray:
        """A training sample (3, 64, 25, 2); `u` and `limbs` are its random numbers."""
        x = self.padded[row].reshape(PADDED, 2, 25, 3).transpose(3, 0, 2, 1)  # (C, T, V, M)
        valid = int((x.sum(0).sum(-1).sum(-1) != 0).sum())
        low, high = self.transform.crop
        kept = min(max(int(np.floor(valid * (low + (high - low) * u[4]))), 64), valid)
        begin = int(u[5] * (valid - kept + 1))
        series = torch.from_numpy(x[:, begin : begin + kept].copy()).permute(0, 2, 3, 1)
        series = F.interpolate(series.reshape(1, 150, kept), size=64, mode="linear")
        x = series.view(3, 25, 2, 64).permute(0, 3, 1, 2)  # (C, F, V, M)
        x = self.turned(x, u[:3]).numpy()
        if limbs is not None:
            x = self.scaled(x, limbs)
        if self.stream == "bone":
            bones = np.zeros_like(x)
            for child, parent in self.bones:
                bones[:, :, child] = x[:, :, child] - x[:, :, parent]
            x = bones
        return x

    def turned(self, x: torch.Tensor, u: np.ndarray) -> torch.Tensor:
        """One matrix a frame, as published, though all are the same."""
        angle = torch.tensor(np.radians((2 * u - 1) * np.array(self.transform.rotation)))
        (cx, cy, cz), (sx, sy, sz) = angle.cos(), angle.sin()
        one, zero = torch.ones(()), torch.zeros(())
        about_x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx]).view(3, 3)
        about_y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).view(3, 3)
        about_z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one]).view(3, 3)
        matrix = (about_z @ about_y @ about_x).float().expand(64, 3, 3)
        flat = x.permute(1, 0, 2, 3).reshape(64, 3, 50)
        return torch.matmul(matrix, flat).view(64, 3, 25, 2).permute(1, 0, 2, 3)

    def scaled(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Each bone times its factor, joints from the root outward."""
        low, high = self.transform.limb_scale
        out = x.copy()
        for child, parent in self.outward:
            factor = low + (high - low) * (u[child] + u[self.mirror.get(child, child)]) / 2
            out[:, :, child] = out[:, :, parent] + factor * (x[:, :, child] - x[:, :, parent])
        return out


def make_clips(count: int, file: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips (T, M, V, C) of NTU's lengths in a mapped file, a fifth of two persons; and padded."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(6, 13, count), 20, PADDED).astype(int)
    persons = np.where(rng.random(count) < 0.2, 2, 1)
    sizes = lengths * persons * 75
    ends = np.cumsum(sizes)
    flat = np.lib.format.open_memmap(file, mode="w+", dtype="<f4", shape=(int(ends[-1]),))
    padded = np.zeros((count, PADDED, 2, 25, 3), dtype=np.float32)
    clips = []
    for row, (end, size, length, m) in enumerate(zip(ends, sizes, lengths, persons, strict=True)):
        clip = rng.normal(size=(length, m, 25, 3)).astype(np.float32)
        clip -= clip[0, 0, 1]  # as the field's files: centred
        clip[0, 0, 1, 2] = 0.01  # a joint at the origin of all axes is none to the centring
        clip -= clip[0, 0, 1]
        flat[end - size : end] = clip.ravel()
        padded[row, :length, :m] = clip
        clips.append(np.asarray(flat[end - size : end]).reshape(clip.shape))
    return clips, padded.reshape(count, PADDED, 150)


def check_equal(feeder: PublishedFeeder, pipe: ClipPipeline, limbs: bool) -> None:
    """The feeder's samples are ours, by the same random numbers."""
    index = torch.arange(32)
    ours = pipe(index).numpy()
    for row, (u, v) in enumerate(zip(*draws(pipe, index), strict=True)):
        theirs = feeder(row, u, v if limbs else None)
        np.testing.assert_allclose(ours[row], theirs, atol=2e-5)


def draws(pipe: ClipPipeline, index: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The random numbers of some clips in epoch 0."""
    keys, when = pipe.clips.keys[index], {"seed": 0, "epoch": 0}
    augment = random_uniform(keys, 6, purpose="augment", **when).numpy()
    return augment, random_uniform(keys, 25, purpose="limbs", **when).numpy()


def rate(count: int, work: Callable[[], None]) -> float:
    """Samples a second of some work, if it had one core."""
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def measure(
    clips: list[np.ndarray], padded: np.ndarray, stream: str, limbs: bool, rounds: int
) -> dict:
    """Samples a second on one core of the feeder and of the pipeline; clips packed a second."""
    changes = {"data.stream": stream} | ({} if limbs else {"data.transform.limb_scale": [1, 1]})
    transform = load_recipe("ntu60_xsub_joint", changes).data.transform.with_frames(64)
    split = DeviceClips.from_clips(clips, [0] * len(clips), [f"clip{i}" for i in range(len(clips))])
    options = {"stream": stream, "num_persons": 2, "training": True}
    streamed = ClipPipeline(split, NTU60.skeleton, transform, resident=False, **options)
    resident = ClipPipeline(split, NTU60.skeleton, transform, **options)
    feeder = PublishedFeeder(padded, transform, stream)
    check_equal(feeder, resident, limbs)
    few = torch.arange(min(400, len(clips) // 2))
    numbers = draws(resident, few)
    batches = [(index, 0) for index in torch.randperm(len(clips)).split(BATCH)]

    def feed() -> None:
        for row, (u, v) in enumerate(zip(*numbers, strict=True)):
            feeder(row, u, v if limbs else None)

    def pack() -> None:
        for index, _ in batches:
            pack_frames([clips[i] for i in index.tolist()], resident.packing)

    def in_one_thread(pipe: ClipPipeline) -> None:
        for index, _ in batches:
            pipe(index)

    def ahead() -> None:
        with closing(streamed.batches(batches)) as made:
            for _ in made:
                pass

    works = {
        "feeder": (len(few), feed),
        "pack": (len(clips), pack),
        "resident": (len(clips), lambda: in_one_thread(resident)),
        "streamed": (len(clips), lambda: in_one_thread(streamed)),
        "streamed ahead": (len(clips), ahead),
    }
    found = [{name: rate(*work) for name, work in works.items()} for _ in range(rounds)]
    figures = {name: round(np.median([r[name] for r in found])) for name in works}
    times = float(np.median([r["resident"] / r["feeder"] for r in found]))
    return {"samples_per_s": figures, "times_the_feeder": round(times, 1)}


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    found, rounds = {}, QUICK_ROUNDS if asked.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        clips, padded = make_clips(400 if asked.quick else 4_000, Path(folder) / "clips.npy")
        for stream in ("joint", "bone"):
            for limbs in (False, True):
                name = stream + (", limbs scaled" if limbs else "")
                found[name] = figures = measure(clips, padded, stream, limbs, rounds)
                log.info("%s: samples a second on one core", name)
                for what, value in figures["samples_per_s"].items():
                    log.info("  %-16s %7s", what, f"{value:,}")
                times = figures["times_the_feeder"]
                log.info("  resident: %.1f times the feeder (target %d)", times, TARGET)
        del clips
    if asked.out:
        write(asked.out, {"what": "the data pipeline", "machine": machine(), "rates": found})


if __name__ == "__main__":
    main()
