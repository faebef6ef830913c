"""From packed clips to a model's input, batched and on the device: decode, augment, stream.

Follows the published feeders of NW-UCLA and NTU RGB+D (CTR-GCN's, Chen et al., ICCV 2021) without a
loop over samples. Every step is linear in the coordinates, so a batch is one gather of frames, one
interpolation and one affine map a clip. No step waits for the device.
"""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from frcore.data.device_clips import DeviceClips, outline
from frcore.data.random import epoch_order, random_uniform
from frcore.errors import UserError, unknown_name
from frcore.skeleton import Skeleton

if TYPE_CHECKING:
    from frcore.config import TransformConfig

__all__ = ["ClipPipeline", "DeviceClips", "Stream", "epoch_order", "random_uniform"]

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
        num_persons: M of the output; further persons are left out, missing ones are zero.
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
        self.clips, self.skeleton, self.transform = clips, skeleton, transform
        self.stream, self.num_persons = stream, num_persons
        self.training, self.seed = training, seed
        self._turns = training and any(transform.rotation)
        self._scales = training and tuple(transform.scale) != (1.0, 1.0)
        # On the CPU, permuting columns of a last axis is several times faster than any other way.
        column = np.arange(num_persons * clips.rows.shape[1])
        column = column.reshape(num_persons, clips.num_joints, clips.channels)
        parents = skeleton.parents[:, None] * num_persons + np.arange(num_persons)
        persons = np.broadcast_to(np.arange(num_persons), parents.shape)
        self._to_planes, self._parents, self._persons = (
            torch.tensor(a.flatten()).to(clips.rows.device)
            for a in (column.transpose(2, 1, 0), parents, persons)
        )
        # Min-max cancels any centre; taking one all the same keeps its float32 sums small.
        anchors = clips.rows[clips.anchor_row].unflatten(1, (-1, clips.channels))
        centred = transform.center or transform.normalize == "minmax"
        self._center = anchors[:, skeleton.center] * float(centred)  # (N, C)
        if transform.normalize == "minmax":
            self._outline = outline(clips, self._center, num_persons, hull=self._turns)

    def __call__(self, index: Tensor, *, epoch: int = 0, repeat: Tensor | int = 0) -> Tensor:
        """The clips at `index` as (n, C, frames, V, M) float32 on the clips' device.

        Args:
            index: (n,) int64, positions in `clips`.
            epoch: random numbers differ from epoch to epoch.
            repeat: (n,) int64 or one integer: which pass over the clip within the epoch.
        """
        device = self.clips.rows.device
        index = index.to(device)
        repeat = repeat.to(device) if isinstance(repeat, Tensor) else repeat
        draws = self._draw(index, epoch, repeat) if self.training else None
        x, present = self._decode(index, *self._frames(index, draws))
        matrix = self._matrix(draws, x) if self._turns or self._scales else None
        if self.transform.normalize == "minmax":
            x = self._minmax(x, present, index, matrix)
        elif matrix is not None:
            x = _apply(matrix, x)
        x = self._as_stream(x)
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

    def _frames(self, index: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
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

    def _decode(
        self, index: Tensor, lower: Tensor, upper: Tensor | None, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Centred clips and, 0 to 1, how much of each person is there: (n, C or 1, F, V * M)."""
        x, present = self._read(index, lower)
        if upper is not None:
            x_upper, present_upper = self._read(index, upper)
            present = torch.lerp(present, present_upper, weight[..., None])
            x = torch.lerp(x, x_upper, weight[..., None])
        present = present.flatten(0, 1).index_select(1, self._persons).view(*x.shape[:2], -1)
        present = present[:, None]
        planes = x.flatten(0, 1).index_select(1, self._to_planes)
        planes = planes.view(*x.shape[:2], self.clips.channels, -1).transpose(1, 2)
        center = self._center.index_select(0, index)[:, :, None, None]
        out = torch.empty(planes.shape, device=planes.device)
        return torch.addcmul(planes, center, present, value=-1, out=out), present

    def _read(self, index: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n, F, M * V * C) of frames (n, F), and whether anybody is there (n, F, M)."""
        clips = self.clips
        first = clips.first_row.index_select(0, index)[:, None, None]
        persons = clips.num_persons.index_select(0, index)[:, None, None]
        person = torch.arange(self.num_persons, device=index.device)
        row = first + frame[:, :, None] * persons + person
        row = torch.where(person < persons, row, len(clips.rows) - 1)
        flat = row.flatten()
        x = clips.rows.index_select(0, flat).view(*frame.shape, -1)
        return x, clips.present.index_select(0, flat).view(row.shape)

    def _matrix(self, draws: Tensor, like: Tensor) -> Tensor:
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
        return matrix[:, : like.shape[1], : like.shape[1]].to(like.dtype)

    def _minmax(self, x: Tensor, present: Tensor, index: Tensor, matrix: Tensor | None) -> Tensor:
        """Each axis of the turned clip to [-1, 1], by the whole clip; a flat axis becomes zero."""
        outline = self._outline.index_select(0, index)
        if matrix is not None:
            outline = _apply(matrix, outline)
        low, high = outline.aminmax(dim=2)  # (n, C)
        middle, half = (high + low) / 2, (high - low) / 2
        largest = low.abs().maximum(high.abs()).amax(dim=1, keepdim=True)
        half = torch.where(half > _FLAT * largest, half, 1)
        gain = 1 / half[:, :, None]
        x = x * gain[..., None] if matrix is None else _apply(matrix * gain, x)
        return x.addcmul_((middle / half)[:, :, None, None], present, value=-1)

    def _as_stream(self, x: Tensor) -> Tensor:
        if self.stream.startswith("bone"):
            x = x - x.index_select(3, self._parents)
        if self.stream.endswith("motion"):
            motion = torch.empty_like(x)
            torch.sub(x[:, :, 1:], x[:, :, :-1], out=motion[:, :, :-1])
            motion[:, :, -1] = 0
            x = motion
        return x

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


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix (n, C, C) times x (n, C, ...) by hand: no TF32 or autocast, same bits in any batch."""
    flat = x.flatten(2)
    out = matrix[:, :, 0, None] * flat[:, None, 0]
    for axis in range(1, matrix.shape[2]):
        out += matrix[:, :, axis, None] * flat[:, None, axis]
    return out.view(x.shape)
