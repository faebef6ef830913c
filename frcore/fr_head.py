"""FR Head (Zhou, Liu, Wang, CVPR 2023): ambiguous clips are calibrated against class prototypes.

While a network trains, confident clips (true positives, TP) update a prototype a class; ambiguous
ones (false negatives FN, false positives FP) pull or push on it, in a spatial and a temporal branch
at several depths. All runs in float32 or wider: bfloat16 loses the small prototype updates.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import StageInfo
from frcore.backbones.layers import average
from frcore.contrast import Anchors, ContrastStats, Outcomes, batch_outcomes, contrast
from frcore.errors import UserError, unknown_name
from frcore.shapes import check_shape


class PrototypeContrast(nn.Module):
    """One contrastive branch: a linear projection, a prototype a class, and the loss of Eq. 8.

    Args:
        in_features: width of the incoming features.
        num_classes: K.
        hidden: D, width of the projected features and the prototypes.
        anchors, use_fn, use_fp, confidence_weight, temperature, momentum: see `contrast`.
        warm_start: a class joins the denominator once it has been seen; False starts, as published,
            from random prototypes, which attract and repel at random until replaced.
        tp_threshold: a true positive with p at or below it is none: it moves no prototype, is no
            anchor and is not counted.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        hidden: int = 256,
        anchors: Anchors = "true_positive",
        use_fn: bool = True,
        use_fp: bool = True,
        confidence_weight: bool = True,
        temperature: float = 0.125,
        momentum: float = 0.9,
        warm_start: bool = False,
        tp_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        if anchors not in ("true_positive", "all"):
            raise UserError(f"anchors must be 'true_positive' or 'all', not '{anchors}'.")
        if not (temperature > 0 and 0 <= momentum < 1 and 0 <= tp_threshold < 1):
            raise UserError(
                "temperature must be above 0, momentum and tp_threshold in 0..1 without 1; not "
                f"{temperature}, {momentum} and {tp_threshold}."
            )
        self.project = nn.Linear(in_features, hidden)
        start = torch.zeros if warm_start else torch.randn
        self.register_buffer("prototypes", start(num_classes, hidden))
        self.register_buffer("seen", torch.full((num_classes,), not warm_start))
        self.warm_start = warm_start
        self.tp_threshold = tp_threshold
        self.options = {
            "anchors": anchors,
            "use_fn": use_fn,
            "use_fp": use_fp,
            "confidence_weight": confidence_weight,
            "temperature": temperature,
            "momentum": momentum,
        }

    def forward(self, features: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """Scalar loss of features (N, in_features); training mode moves the prototypes (Eq. 3).

        Args:
            features: (N, in_features).
            labels: (N,) int64, 0..K-1.
            logits: (N, K), used without gradient.

        Raises:
            UserError: axes of other sizes; labels out of range, where they lie on the CPU.
        """
        num_classes = len(self.prototypes)
        check_shape(features, "N D", name="features", D=self.project.in_features)
        check_shape(labels, "N", name="labels", N=len(features))
        check_shape(logits, "N K", name="logits", N=len(features), K=num_classes)
        wrong = labels.device.type == "cpu" and ((labels < 0) | (labels >= num_classes)).any()
        if wrong:
            raise UserError(f"labels must be in 0..{num_classes - 1}, not {labels.tolist()[:10]}.")
        with torch.autocast(features.device.type, enabled=False):
            projected = self.project(features.to(self.project.weight.dtype))[None]
            outcomes = batch_outcomes(labels, logits, self.tp_threshold)
            losses, _ = contrast_branches([self], projected, outcomes)
        return losses[0]


def contrast_branches(
    branches: Sequence[PrototypeContrast],
    features: Tensor,
    outcomes: Outcomes,
    *,
    counted: bool = True,
) -> tuple[Tensor, ContrastStats]:
    """Runs branches of one width together and stores their moved prototypes.

    Args:
        branches: B branches that share their options.
        features: (B, N, D), projected.
        counted: see `contrast`.

    Returns:
        Losses (B,) and statistics.
    """
    first = branches[0]
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    losses, prototypes, stats = contrast(
        features,
        torch.stack([b.prototypes for b in branches]).to(features.dtype),
        outcomes,
        seen=torch.stack([b.seen for b in branches]) if first.warm_start else None,
        update=first.training,
        counted=counted,
        **first.options,
    )
    if first.training:
        with torch.no_grad():
            has_tp = stats.counts[0] > 0
            for branch, moved in zip(branches, prototypes, strict=True):
                branch.prototypes.copy_(moved)
                branch.seen.logical_or_(has_tp)
    return losses, stats


class Squeeze(nn.Module):
    """A map's mean along one axis, flat: 1x1 convolution to hidden // size channels, norm, ReLU."""

    def __init__(self, in_channels: int, size: int, hidden: int) -> None:
        super().__init__()
        self.size = min(size, hidden)  # an axis longer than `hidden` is pooled to it
        channels = hidden // self.size
        self.conv = nn.Conv1d(in_channels, channels, 1)
        self.norm = nn.BatchNorm1d(channels)
        self.out_features = channels * self.size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, size) to (N, out_features); other sizes are pooled to the promised one."""
        if x.shape[-1] != self.size:
            x = F.adaptive_avg_pool1d(x, self.size)
        return F.relu(self.norm(self.conv(x))).flatten(1)


def _module_name(space: str) -> str:
    return space.replace(".", "_")  # names of modules may not hold dots


class FRHeadOutput(NamedTuple):
    """What the head says of a batch."""

    loss: Tensor  # scalar: sum over levels of lambda_i * (spatial_i + temporal_i), Eq. 10
    branch_losses: Tensor  # (B,), detached, in the order of `FRHead.spaces`
    stats: ContrastStats


class FRHead(nn.Module):
    """The Feature Refinement Head: contrastive branches on several stages of a backbone.

    Args:
        stage_info: of the backbone, a `StageInfo` a stage.
        num_classes: K.
        levels: stages tapped, counted from 1.
        level_weights: lambda_i, one a level.
        decouple: a spatial and a temporal branch a level; False: one branch on the pooled map.
        hidden: D; None takes each level's channels.
        **contrast: see `PrototypeContrast`.

    With `last = {"levels": (10,), "level_weights": (1.0,)}` the paper's Table 1 is: "+CL"
    `**last, decouple=False`; "+ST decouple" `**last`; "+ML refine" `decouple=False, hidden=None`.

    Raises:
        UserError: for levels the backbone does not have, or not as many weights as levels.
    """

    def __init__(
        self,
        stage_info: Sequence[StageInfo],
        num_classes: int,
        *,
        levels: Sequence[int] = (1, 5, 8, 10),
        level_weights: Sequence[float] = (0.1, 0.2, 0.5, 1.0),
        decouple: bool = True,
        hidden: int | None = 256,
        **contrast: Any,
    ) -> None:
        super().__init__()
        possible = [level for level in set(levels) if 1 <= level <= len(stage_info)]
        if not levels or len(possible) != len(levels) or len(levels) != len(level_weights):
            raise UserError(
                f"levels {tuple(levels)} must be different stages of the backbone, from 1 to "
                f"{len(stage_info)}, each with a level weight; those are {tuple(level_weights)}."
            )
        self.levels = tuple(levels)
        self.squeeze, self.contrast = nn.ModuleDict(), nn.ModuleDict()
        self.level_of: dict[str, int] = {}  # space -> the level it taps
        weights: list[float] = []
        for level, weight in zip(levels, level_weights, strict=True):
            stage = stage_info[level - 1]
            width = hidden or stage.channels
            sizes = (
                {"spatial": stage.joints, "temporal": stage.frames} if decouple else {"pooled": 1}
            )
            for branch, size in sizes.items():
                space, in_features = f"{stage.name}.{branch}", stage.channels
                key = _module_name(space)
                if decouple:
                    self.squeeze[key] = Squeeze(stage.channels, size, width)
                    in_features = self.squeeze[key].out_features
                self.contrast[key] = PrototypeContrast(
                    in_features, num_classes, hidden=width, **contrast
                )
                self.level_of[space] = level
                weights.append(float(weight))
        self.spaces = tuple(self.level_of)
        self.register_buffer("branch_weights", torch.tensor(weights), persistent=False)

    def project(self, stages: Sequence[Tensor], num_clips: int, space: str) -> Tensor:
        """The features (N, D) of stage maps in one space, e.g. "fin.spatial"."""
        if space not in self.spaces:
            raise unknown_name("space", space, self.spaces)
        key, branch = _module_name(space), space.rsplit(".", 1)[1]
        axes = {"spatial": (2,), "temporal": (3,), "pooled": (2, 3)}[branch]
        stage = stages[self.level_of[space] - 1]
        x = average(stage, *axes, dtype=self.branch_weights.dtype)  # sums in it, also of bfloat16
        x = x.unflatten(0, (num_clips, -1)).mean(1)  # persons: (N, C, V), (N, C, T') or (N, C)
        return self.contrast[key].project(self.squeeze[key](x) if key in self.squeeze else x)

    def prototypes(self, space: str) -> Tensor:
        """(K, D) class prototypes of a space."""
        return self.contrast[_module_name(space)].prototypes

    def forward(
        self, stages: Sequence[Tensor], labels: Tensor, logits: Tensor, *, counted: bool = True
    ) -> FRHeadOutput:
        """The head's loss for stage maps (N*M, C', T', V), labels (N,) and logits (N, K).

        In one of several processes: the mean over its clips, contrasted with centres over the clips
        of all of them that are `counted`.
        """
        branches = list(self.contrast.values())
        results = []
        with torch.autocast(logits.device.type, enabled=False):
            outcomes = batch_outcomes(labels, logits, branches[0].tp_threshold)
            features = [self.project(stages, len(labels), space) for space in self.spaces]
            pairs = zip(branches, features, strict=True)
            for _, group in groupby(pairs, key=lambda pair: pair[1].shape[1]):  # of one width
                some, together = zip(*group, strict=True)
                together = torch.stack(together)
                results.append(contrast_branches(some, together, outcomes, counted=counted))
        losses, stats = zip(*results, strict=True)
        losses = torch.cat(losses)
        _, fn_cosine, fp_cosine = (torch.cat(parts) for parts in zip(*stats, strict=True))
        joined = ContrastStats(stats[0].counts, fn_cosine, fp_cosine)
        return FRHeadOutput((losses * self.branch_weights).sum(), losses.detach(), joined)
