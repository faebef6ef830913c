"""From packed clips to a model's input, batched and on the device: decode, augment, stream.

Follows the published feeders of NW-UCLA and NTU RGB+D (CTR-GCN's, Chen et al., ICCV 2021) without a
loop over samples. Every step is linear in the coordinates, so a batch is one gather of frames, one
interpolation and one affine map a clip. No step waits for the device.
"""

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from frcore.data.benchmarks import AbsentPerson
from frcore.data.device_clips import DeviceClips, pack_frames
from frcore.data.random import random_uniform
from frcore.errors import UserError, unknown_name
from frcore.skeleton import Skeleton

if TYPE_CHECKING:
    from frcore.config import TransformConfig

__all__ = ["ClipPipeline", "DeviceClips", "Stream"]

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]

_COPIES = 100  # random_frames draws from every frame repeated this often
_FLAT = 1e-6  # an axis is flat where its range is below this share of the largest coordinate


class ClipPipeline:
    """Batches of model input from `DeviceClips`: sampled, augmented (in training), as one stream.

    The steps, in order: centre (subtract the skeleton's centre joint of person 0 in the first frame
    that has one), rotate and scale (training), min-max to [-1, 1] over the whole clip, sample
    frames, bones (child minus parent, root zero), motion (next frame minus this one, last frame
    zero). A person absent from a frame (all coordinates zero) stays zero and has no part in the
    min-max. All frames of a clip count as valid: a store holds no padding, whereas the published
    feeder works on padded clips and leaves out frames that sum to zero.

    With `training=False` a clip always gives the same output and no random number is used.

    Args:
        clips: the split.
        skeleton: its body; gives the centre joint and the bones.
        transform: what is done to a clip.
        stream: which of the four streams.
        num_persons: M of the output; further persons are left out.
        absent_person: persons that a clip has no place for: zero, or copies of its first one.
        training: random sampling and augmentation, or the fixed transform of evaluation.
        seed: of the run; see `frcore.data.random`.

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
        bones = stream.startswith("bone")
        minmax = transform.normalize == "minmax"
        self._frames = pack_frames(
            clips,
            skeleton,
            num_persons,
            center=transform.center or minmax,  # min-max cancels it, but float32 likes small sums
            bones=bones,
            outline=minmax,
            hull=self._turns,
            absent_person=absent_person,
        )
        self._shifts = minmax and not bones

    def __call__(self, index: Tensor, *, epoch: int = 0, repeat: Tensor | int = 0) -> Tensor:
        """The clips at `index` as (n, C, frames, V, M) float32 on the clips' device.

        Args:
            index: (n,) int64, positions in `clips`.
            epoch: random numbers differ from epoch to epoch.
            repeat: (n,) int64 or one integer: which pass over the clip within the epoch.
        """
        index = index.to(self.clips.device)
        repeat = repeat.to(index.device) if isinstance(repeat, Tensor) else repeat
        draws = self._draw(index, epoch, repeat) if self.training else None
        lower, upper, weight = self._sample(index, draws)
        x = self._read(self._frames.rows, index, lower, upper, weight)  # (n, F, C * V * M)
        x = x.unflatten(2, (self.clips.channels, -1)).transpose(1, 2)  # (n, C, F, V * M)
        matrix = self._matrix(draws) if self._turns or self._scales else None
        shift = None
        if self._frames.outline is not None:
            matrix, shift = self._minmax(index, matrix)
            present = self._frames.present
            if not self._shifts:
                shift = None
            elif present is not None:
                present = self._read(present, index, lower, upper, weight)  # (n, F, M)
                shift = shift * present.repeat(1, 1, self.clips.num_joints)[:, None]
        x = x.contiguous() if matrix is None else _affine(matrix, x, shift)
        if self.stream.endswith("motion"):
            x = _motion(x)
        return x.unflatten(3, (self.clips.num_joints, self.num_persons))

    def _draw(self, index: Tensor, epoch: int, repeat: Tensor | int) -> Tensor:
        """(n, 6 + 2 * frames): rotation x, y, z; scale; crop's share and start; frames."""
        count = 6 + (2 * self.transform.frames if self._by_frames else 0)
        keys = self.clips.keys.index_select(0, index)
        return random_uniform(
            keys, count, seed=self.seed, epoch=epoch, purpose="augment", repeat=repeat
        )

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
                return _even_frames(length, transform.frames), None, length
            return _random_frames(length, draws[:, 6:]), None, length
        if draws is None:
            start = ((1 - transform.test_crop) * length.double() / 2).long()
            kept = length - 2 * start
        else:
            low, high = transform.crop
            share = low + (high - low) * draws[:, 4:5]
            kept = (length * share).long().clamp(min=transform.frames).minimum(length)
            start = (draws[:, 5:6] * (length - kept + 1)).long()
        # Half-pixel centres: frame f of F lies at (f + 0.5) * kept / F - 0.5 of the cropped clip.
        step = torch.arange(transform.frames, device=index.device, dtype=torch.float64) + 0.5
        position = (step * (kept / transform.frames) - 0.5).clamp(min=0)
        lower = position.long()
        upper = (lower + 1).minimum(kept - 1)
        return start + lower, start + upper, (position - lower).float()

    def _read(
        self, rows: Tensor, index: Tensor, lower: Tensor, upper: Tensor | None, weight: Tensor
    ) -> Tensor:
        """(n, F, D) of `rows` (sum of T, D): the lower frames, or mixtures with the upper ones."""
        first = self._frames.first.index_select(0, index)[:, None]
        x = rows.index_select(0, (first + lower).flatten()).view(*lower.shape, -1)
        if upper is None:
            return x
        x_upper = rows.index_select(0, (first + upper).flatten()).view(*lower.shape, -1)
        return torch.lerp(x, x_upper, weight[:, :, None])

    def _matrix(self, draws: Tensor) -> Tensor:
        """(n, C, C): rotation about y, then x, then z, times the scale.

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
        angle = torch.stack(degrees).deg2rad()
        (cx, cy, cz), (sx, sy, sz) = angle.cos(), angle.sin()
        entries = [
            cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy,
            sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy,
            -cx * sy, sx, cx * cy,
        ]  # fmt: skip
        low, high = transform.scale
        scale = low + (high - low) * draws[:, 3]
        matrix = torch.stack(entries, dim=1).mul(scale[:, None]).unflatten(1, (3, 3))
        return matrix[:, : self.clips.channels, : self.clips.channels].float()

    def _minmax(self, index: Tensor, matrix: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each axis of the turned clip to [-1, 1], by the whole clip; a flat axis becomes zero.

        Returns:
            The matrix (n, C, C), or (n, C) where it is diagonal, and shift (n, C, 1, 1).
        """
        outline = self._frames.outline.index_select(0, index)
        if matrix is not None:
            outline = _affine(matrix, outline[:, :, None], None)[:, :, 0]
        low, high = outline.aminmax(dim=2)  # (n, C)
        middle, half = (high + low) / 2, (high - low) / 2
        largest = low.abs().maximum(high.abs()).amax(dim=1, keepdim=True)
        gain = 1 / torch.where(half > _FLAT * largest, half, 1)
        shift = -(middle * gain)[:, :, None, None]
        return gain if matrix is None else matrix * gain[:, :, None], shift

    def __repr__(self) -> str:
        mode = "training" if self.training else "evaluation"
        clips, frames = self.clips, self.transform.frames
        shape = (clips.channels, frames, clips.num_joints, self.num_persons)
        return f"ClipPipeline({len(clips)} clips, {self.stream}, {mode}, C T V M = {shape})"


def _even_frames(length: Tensor, frames: int) -> Tensor:
    """(n, F): `linspace(0, length - 1, frames)` truncated, with NumPy's roundings."""
    step = torch.arange(frames, device=length.device, dtype=torch.float64)
    frame = (step * ((length - 1).double() / max(frames - 1, 1))).long()
    return torch.where(step == max(frames - 1, 1), length - 1, frame)


def _random_frames(length: Tensor, draws: Tensor) -> Tensor:
    """(n, F) sorted: F frames without replacement from every frame repeated 100 times.

    Of 2 F draws with replacement the first F distinct ones are such a sample. For F up to 100 and
    clips of two frames or more, enough are distinct but for one time in 10^6; then, and where a
    clip has fewer than F copies (the published code stops there), the earliest repeats fill up.

    Args:
        length: (n, 1) int64.
        draws: (n, 2 F) float64 in [0, 1).
    """
    count = draws.shape[1]
    drawn, order = (draws * (_COPIES * length)).int().sort(dim=1, stable=True)
    repeated = torch.zeros_like(drawn, dtype=torch.bool)
    torch.eq(drawn[:, 1:], drawn[:, :-1], out=repeated[:, 1:])
    order = (order + count * repeated).int()  # distinct ones first, each group as drawn
    kept = order <= order.sort(dim=1).values[:, count // 2 - 1, None]
    chosen = torch.where(kept, drawn, torch.iinfo(torch.int32).max).sort(dim=1).values
    return (chosen[:, : count // 2] // _COPIES).long()


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
