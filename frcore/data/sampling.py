"""Which frames of a clip a model sees, and reading them: batched, never waiting for the device."""

import torch
from torch import Tensor

_COPIES = 100  # random_frames draws from every frame repeated this often


def even_frames(length: Tensor, frames: int) -> Tensor:
    """(n, F): `linspace(0, length - 1, frames)` truncated, with NumPy's roundings."""
    step = torch.arange(frames, device=length.device, dtype=torch.float64)
    frame = (step * ((length - 1).double() / max(frames - 1, 1))).long()
    return torch.where(step == max(frames - 1, 1), length - 1, frame)


def random_frames(length: Tensor, draws: Tensor) -> Tensor:
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


def resized_frames(length: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Linear resizing to F frames with half-pixel centres, as `interpolate(align_corners=False)`.

    Frame f of F lies at (f + 0.5) * length / F - 0.5 of the clip.

    Args:
        length: (n, 1) int64.
        frames: F.

    Returns:
        Lower and upper frame (n, F) int64, and the share of the upper one (n, F) float32.
    """
    step = torch.arange(frames, device=length.device, dtype=torch.float64) + 0.5
    position = (step * (length / frames) - 0.5).clamp(min=0)
    lower = position.long()
    return lower, (lower + 1).minimum(length - 1), (position - lower).float()


def read_frames(
    rows: Tensor, first: Tensor, lower: Tensor, upper: Tensor | None, weight: Tensor
) -> Tensor:
    """(n, F, D) of `rows` (sum of T, D): the lower frames, or mixtures with the upper ones.

    Args:
        rows: all frames of the clips.
        first: (n, 1) int64, where each clip begins.
        lower, upper, weight: frames within each clip, (n, F); upper None: the lower ones alone.
    """
    x = rows.index_select(0, (first + lower).flatten()).view(*lower.shape, -1)
    if upper is None:
        return x
    x_upper = rows.index_select(0, (first + upper).flatten()).view(*lower.shape, -1)
    return torch.lerp(x, x_upper, weight[:, :, None], out=x)
