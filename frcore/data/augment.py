"""From packed clips to a model's input, batched and on the device: decode, augment, stream.

Follows the published feeders of NW-UCLA and NTU RGB+D (CTR-GCN's, Chen et al., ICCV 2021) without a
loop over samples. Every step is linear in the coordinates, so a batch is one gather of frames, one
interpolation and one affine map a clip. No step waits for the device.
"""

from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from frcore.data.benchmarks import AbsentPerson
from frcore.data.device_clips import DeviceClips
from frcore.data.limbs import LimbScaling
from frcore.data.packing import Frames, Packing, pack_frames
from frcore.data.prefetch import prefetch
from frcore.data.random import random_uniform
from frcore.data.sampling import even_frames, random_frames, read_frames, resized_frames
from frcore.errors import UserError, counted, unknown_name
from frcore.skeleton import Skeleton

if TYPE_CHECKING:
    from frcore.config import TransformConfig

__all__ = ["ClipPipeline", "DeviceClips", "Stream"]

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]

_FLAT = 1e-6  # an axis is flat where its range is below this share of the largest coordinate


class ClipPipeline:
    """Batches of model input from `DeviceClips`: sampled, augmented (in training), as one stream.

    The steps, in order: centre (subtract the skeleton's centre joint of person 0 in the first frame
    that has one), scale limbs, rotate and scale (training), min-max to [-1, 1] over the whole clip,
    sample frames, bones (child minus parent, root zero), motion (next frame minus this one, last
    frame zero). A person absent from a frame (all coordinates zero) stays zero and has no part in
    the min-max. All frames of a clip count as valid: a store holds no padding, whereas the
    published feeder works on padded clips and leaves out frames that sum to zero.

    With `training=False` a clip always gives the same output and no random number is used. The
    output does not depend on where the clips are, bit for bit.

    Args:
        clips: the split.
        skeleton: its body; gives the centre joint and the bones.
        transform: what is done to a clip.
        stream: which of the four streams.
        num_persons: M of the output; further persons are left out.
        absent_person: persons that a clip has no place for: zero, or copies of its first one.
        training: random sampling and augmentation, or the fixed transform of evaluation.
        seed: of the run; see `frcore.data.random`.
        resident: `load` all frames now; else those of a batch are read when it is made.

    Raises:
        UserError: for an unknown stream, or clips with another number of joints than `skeleton`.
    """

    def __init__(
        self,
        clips: DeviceClips,
        skeleton: Skeleton,
        transform: "TransformConfig",
        *,
        stream: Stream = "joint",
        num_persons: int = 1,
        absent_person: AbsentPerson = "zero",
        training: bool = False,
        seed: int = 0,
        resident: bool = True,
    ) -> None:
        if stream not in get_args(Stream):
            raise unknown_name("stream", stream, get_args(Stream))
        if clips.num_joints != skeleton.num_joints:
            raise UserError(
                f"The clips have {clips.num_joints} joints, skeleton '{skeleton.name}' has "
                f"{skeleton.num_joints}. Choose the skeleton that the clips were recorded with."
            )
        if transform.frames is None:
            raise UserError("A pipeline needs transform.frames: how many frames a model sees.")
        self.clips, self.skeleton, self.transform = clips, skeleton, transform
        self.stream, self.num_persons = stream, num_persons
        self.training, self.seed = training, seed
        self._turns = training and any(transform.rotation)
        self._scales = training and tuple(transform.scale) != (1.0, 1.0)
        limbs = training and tuple(transform.limb_scale) != (1.0, 1.0)
        self._bones = stream.startswith("bone")
        minmax = transform.normalize == "minmax"
        self.packing = Packing(
            skeleton,
            clips.channels,
            num_persons,
            center=transform.center or minmax,  # min-max cancels it, but float32 likes small sums
            bones=self._bones or limbs,
            keep_root=not self._bones,
            outline=minmax,
            hull=self._turns,
            absent_person=absent_person,
        )
        scaling = (self.packing, transform.limb_scale, clips.device)
        self._limbs = LimbScaling(*scaling) if limbs else None
        self._frames: Frames | None = None
        if resident:
            self.load()

    def load(self) -> None:
        """Puts all frames on the device."""
        self._frames = pack_frames(self.clips.arrays, self.packing, self.clips.device)

    @property
    def resident(self) -> bool:
        """Whether all frames are on the device; else those of a batch are read when it is made."""
        return self._frames is not None

    @property
    def size(self) -> int:
        """Bytes of all frames on the device (outlines are small beside them)."""
        return 4 * self.packing.width * sum(map(len, self.clips.arrays))

    def __call__(self, index: Tensor, *, epoch: int = 0, repeat: Tensor | int = 0) -> Tensor:
        """The clips at `index` as (n, C, frames, V, M) float32 on the clips' device.

        Args:
            index: (n,) int64, positions in `clips`.
            epoch: random numbers differ from epoch to epoch.
            repeat: (n,) int64 or one integer: which pass over the clip within the epoch.
        """
        frames = self._pack(index.tolist()) if self._frames is None else self._frames
        return self._make(frames, index, epoch, repeat)

    def batches(
        self, batches: Sequence[tuple[Tensor, Tensor | int]], *, epoch: int = 0
    ) -> Generator[Tensor, None, None]:
        """What `self(index, epoch=epoch, repeat=repeat)` gives for each (index, repeat), in order.

        Where the clips are not resident, background threads read the next batches meanwhile. Close
        it (`contextlib.closing`) where a loop over it may stop early.
        """
        if self._frames is not None:
            for index, repeat in batches:
                yield self(index, epoch=epoch, repeat=repeat)
            return
        wanted = [index.tolist() for index, _ in batches]  # now: later it would wait for the device
        with closing(prefetch(self._pack, wanted)) as packed:
            for (index, repeat), frames in zip(batches, packed, strict=True):
                yield self._make(frames, index, epoch, repeat)

    def _pack(self, wanted: list[int]) -> Frames:
        """The frames of some clips on the host, for one batch."""
        device, clips = self.clips.device, [self.clips.arrays[i] for i in wanted]
        on_cuda = device.type == "cuda"
        with torch.cuda.device(device) if on_cuda else nullcontext():  # a thread has its own
            return pack_frames(clips, self.packing, pinned=on_cuda)

    def _make(self, frames: Frames, index: Tensor, epoch: int, repeat: Tensor | int) -> Tensor:
        """The clips at `index`; `frames` are those of all clips, or of these ones in their order.

        The steps follow each other as is cheapest: all but motion are linear in each frame.
        """
        device, whole = self.clips.device, frames is self._frames
        frames, index = frames.to(device), index.to(device)
        repeat = repeat.to(device) if isinstance(repeat, Tensor) else repeat
        when = {"seed": self.seed, "epoch": epoch, "repeat": repeat}
        keys = self.clips.keys.index_select(0, index)
        draws = self._draw(keys, when) if self.training else None
        first, outline = frames.first, frames.outline
        if whole:
            first = first.index_select(0, index)
            outline = None if outline is None else outline.index_select(0, index)
        places = (first[:, None], *self._sample(index, draws))
        x = read_frames(frames.rows, *places)  # (n, F, C * V * M)
        if self._limbs is not None:
            x = self._limbs.scale(x, self._limbs.factors(keys, **when))
        x = x.unflatten(2, (self.clips.channels, -1)).transpose(1, 2)  # (n, C, F, V * M)
        matrix = self._matrix(draws) if self._turns or self._scales else None
        shift = None
        if outline is not None:
            matrix, shift = _minmax(outline, matrix)
            if self._bones:  # differences
                shift = None
            elif frames.present is not None:
                present = read_frames(frames.present, *places)  # (n, F, M)
                shift = shift * present.repeat(1, 1, self.clips.num_joints)[:, None]
        x = x.contiguous() if matrix is None else _affine(matrix, x, shift)
        if self._limbs is not None and not self._bones:
            x = self._limbs.put_together(x)
        if self.stream.endswith("motion"):
            x = _motion(x)
        return x.unflatten(3, (self.clips.num_joints, self.num_persons))

    def _draw(self, keys: Tensor, when: dict[str, Any]) -> Tensor:
        """(n, 6 + 2 * frames): rotation x, y, z; scale; crop's share and start; frames."""
        count = 6 + (2 * self.transform.frames if self._by_frames else 0)
        return random_uniform(keys, count, purpose="augment", **when)

    @property
    def _by_frames(self) -> bool:
        return self.transform.sampling == "random_frames"

    def _sample(self, index: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Frames to read and mix: lower, upper, weight of the upper; each (n, F).

        Upper is None where no two frames are mixed; the weight has then no meaning.
        """
        transform = self.transform
        length = self.clips.num_frames.index_select(0, index)[:, None]
        if self._by_frames:
            if draws is None:
                return even_frames(length, transform.frames), None, length
            return random_frames(length, draws[:, 6:]), None, length
        if draws is None:
            start = ((1 - transform.test_crop) * length.double() / 2).long()
            kept = length - 2 * start
        else:
            low, high = transform.crop
            share = low + (high - low) * draws[:, 4:5]
            kept = (length * share).long().clamp(min=transform.frames).minimum(length)
            start = (draws[:, 5:6] * (length - kept + 1)).long()
        lower, upper, weight = resized_frames(kept, transform.frames)
        return start + lower, start + upper, weight

    def _matrix(self, draws: Tensor) -> Tensor:
        """(n, C, C): rotation about the three axes, one after the other, times the scale.

        Clips in two dimensions take its x-y part.
        """
        transform = self.transform
        degrees = []
        for axis, limit in enumerate(transform.rotation):
            u = draws[:, axis]
            if transform.whole_degrees:
                degrees.append((u * (2 * int(limit) + 1)).floor() - int(limit))
            else:
                degrees.append((2 * u - 1) * limit)
        low, high = transform.scale
        scale = low + (high - low) * draws[:, 3]
        angle = torch.stack(degrees).deg2rad()
        matrix = _turn(angle.cos(), angle.sin(), transform.rotation_order)
        matrix = matrix * scale[:, None, None]
        return matrix[:, : self.clips.channels, : self.clips.channels].float()

    def __repr__(self) -> str:
        mode = "training" if self.training else "evaluation"
        clips, frames = self.clips, self.transform.frames
        shape = (clips.channels, frames, clips.num_joints, self.num_persons)
        count = counted(len(clips), "clip")
        return f"ClipPipeline({count}, {self.stream}, {mode}, C T V M = {shape})"


def _turn(cos: Tensor, sin: Tensor, order: str) -> Tensor:
    """(n, 3, 3) from cosine and sine (3, n) of the angles about x, y, z; the order's first first.

    Written out: three matrices and their products would be a dozen small kernels more.
    """
    (cx, cy, cz), (sx, sy, sz) = cos, sin
    if order == "yxz":
        entries = [
            cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy,
            sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy,
            -cx * sy, sx, cx * cy,
        ]  # fmt: skip
    else:
        entries = [
            cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
            sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
            -sy, cy * sx, cy * cx,
        ]  # fmt: skip
    return torch.stack(entries, dim=1).unflatten(1, (3, 3))


def _minmax(outline: Tensor, matrix: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each axis of the turned clip to [-1, 1], by the whole clip; a flat axis becomes zero.

    Args:
        outline: (n, C, P), the clips' own.
        matrix: (n, C, C), the turn.

    Returns:
        The matrix (n, C, C), or (n, C) where it is diagonal, and shift (n, C, 1, 1).
    """
    if matrix is not None:
        outline = _affine(matrix, outline[:, :, None], None)[:, :, 0]
    low, high = outline.aminmax(dim=2)  # (n, C)
    middle, half = (high + low) / 2, (high - low) / 2
    largest = low.abs().maximum(high.abs()).amax(dim=1, keepdim=True)
    gain = 1 / torch.where(half > _FLAT * largest, half, 1)
    shift = -(middle * gain)[:, :, None, None]
    return gain if matrix is None else matrix * gain[:, :, None], shift


def _affine(matrix: Tensor, x: Tensor, shift: Tensor | None) -> Tensor:
    """matrix (n, C, C), or (n, C) if diagonal, times x (n, C, F, W), plus shift; contiguous.

    By hand: a matrix product would follow TF32 and autocast settings that are meant for the model.
    """
    terms = [(matrix, x)]
    if matrix.ndim == 3:
        terms = [(matrix[:, :, axis], x[:, None, axis]) for axis in range(x.shape[1])]
    out = torch.empty(x.shape, device=x.device)
    for factor, term in terms:
        if shift is None:
            shift = torch.mul(factor[:, :, None, None], term, out=out)
        else:
            shift = torch.addcmul(shift, factor[:, :, None, None], term, out=out)
    return out


def _motion(x: Tensor) -> Tensor:
    """The next frame minus this one, (n, C, F, W); the last frame zero."""
    motion = torch.empty_like(x)
    torch.sub(x[:, :, 1:], x[:, :, :-1], out=motion[:, :, :-1])
    motion[:, :, -1] = 0
    return motion
