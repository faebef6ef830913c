"""FR Head (Zhou, Liu, Wang, CVPR 2023): ambiguous clips are calibrated against class prototypes.

While a network trains, confident clips (true positives, TP) update a prototype a class; ambiguous
ones (false negatives FN, false positives FP) pull or push on it, in a spatial and a temporal branch
at several depths. All runs in float32 or wider: bfloat16 loses the small prototype updates.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import StageInfo
from frcore.errors import UserError, unknown_name

Anchors = Literal["true_positive", "all"]


class Outcomes(NamedTuple):
    """Who is what in a batch; the same for every branch."""

    labels: Tensor  # (N,) int64
    confidence: Tensor  # (N,) p[i, y_i]
    tp: Tensor  # (N, K) one-hot at the label of true positives, else zero
    fn: Tensor  # (N, K) one-hot at the label of false negatives
    fp: Tensor  # (N, K) one-hot at the prediction of false positives


class ContrastStats(NamedTuple):
    """What the calibration saw in a batch, detached."""

    counts: Tensor  # (3, K) clips that are TP, FN, FP of a class
    fn_cosine: Tensor  # (B, K) centre of false negatives to the prototype; 0 where there are none
    fp_cosine: Tensor  # (B, K) the same for false positives


def batch_outcomes(labels: Tensor, logits: Tensor, tp_threshold: float = 0.0) -> Outcomes:
    """True positives, false negatives and false positives of every class (Fig. 4 of the paper).

    Args:
        labels: (N,) int64.
        logits: (N, K); used without gradient.
        tp_threshold: a true positive counts only where p[i, y_i] is above it.
    """
    logits = logits.detach()
    probabilities = torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), 1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    is_label = (labels[:, None] == classes).to(probabilities.dtype)  # (N, K)
    is_predicted = (logits.argmax(1, keepdim=True) == classes).to(probabilities.dtype)
    confidence = (probabilities * is_label).sum(1)
    hit = is_label * is_predicted
    sure = (confidence > tp_threshold).to(hit.dtype)[:, None] if tp_threshold > 0 else 1.0
    return Outcomes(labels, confidence, hit * sure, is_label - hit, is_predicted - hit)


def contrast(
    features: Tensor,
    prototypes: Tensor,
    outcomes: Outcomes,
    *,
    anchors: Anchors = "true_positive",
    use_fn: bool = True,
    use_fp: bool = True,
    confidence_weight: bool = True,
    temperature: float = 0.125,
    momentum: float = 0.9,
    seen: Tensor | None = None,
    update: bool = True,
) -> tuple[Tensor, Tensor, ContrastStats]:
    """The contrastive loss with FN and FP terms of B branches at once (Eq. 3-8).

    Args:
        features: (B, N, D).
        prototypes: (B, K, D), as stored before this step.
        outcomes: of the batch, shared by the branches.
        anchors: whom phi and psi apply to: true positives (Eq. 6, 7) or every clip of the class.
        use_fn, use_fp: without, phi or psi is 0; both cross-entropies stay.
        confidence_weight: w_i = 1 - p[i, y_i], else 1.
        temperature: tau. momentum: alpha.
        seen: (B, K) bool, for warm start: classes that have a prototype; None: all of them count.
        update: move the prototypes (Eq. 3); False in evaluation.

    Returns:
        Losses (B,), prototypes after the step (B, K, D), through which the batch means get their
        gradient, and statistics.
    """
    labels, *floats = outcomes
    confidence, tp, fn, fp = (t.to(features.dtype) for t in floats)
    members = torch.cat([tp, fn, fp], 1).t()  # (3K, N)
    counts = members.sum(1).view(3, -1)  # (3, K)
    has_tp, has_fn, has_fp = counts > 0
    centres = (members @ features) / counts.clamp(min=1).view(-1, 1)  # (B, 3K, D)
    tp_mean, fn_mean, fp_mean = centres.chunk(3, dim=1)

    if update:
        moved = momentum * prototypes + (1 - momentum) * tp_mean  # Eq. 3
        if seen is not None:  # the first true positives of a class are its prototype
            moved = torch.where(seen[..., None], moved, tp_mean)
            seen = seen | has_tp
        prototypes = torch.where(has_tp[:, None], moved, prototypes)

    unit = F.normalize(features, dim=-1)
    unit_prototypes = F.normalize(prototypes, dim=-1)
    similarity = unit @ unit_prototypes.transpose(1, 2) / temperature  # (B, N, K)
    if seen is not None:  # classes without a prototype are not in the denominator
        is_label = F.one_hot(labels, similarity.shape[2]).bool()
        similarity = similarity.masked_fill(~(seen[:, None] | is_label), float("-inf"))

    weight = 1 - confidence if confidence_weight else torch.ones_like(confidence)
    if anchors == "true_positive":
        weight = weight * tp.sum(1)
    fn_unit, fp_unit = F.normalize(fn_mean, dim=-1), F.normalize(fp_mean, dim=-1)
    phi = (1 - (unit * fn_unit[:, labels]).sum(-1)) * has_fn[labels]  # (B, N), Eq. 6
    psi = (1 + (unit * fp_unit[:, labels]).sum(-1)) * has_fp[labels]  # (B, N), Eq. 7
    loss = _calibrated_ce(similarity, labels, weight * phi * use_fn)
    loss = loss + _calibrated_ce(similarity, labels, weight * psi * use_fp)  # Eq. 8
    if seen is not None:
        loss = loss * seen[:, labels]

    with torch.no_grad():
        fn_cosine = (fn_unit * unit_prototypes).sum(-1)  # 0 where a centre is the zero vector
        fp_cosine = (fp_unit * unit_prototypes).sum(-1)
    return loss.mean(1), prototypes, ContrastStats(counts, fn_cosine, fp_cosine)


def _calibrated_ce(similarity: Tensor, labels: Tensor, penalty: Tensor) -> Tensor:
    """(B, N) cross-entropies with `penalty` (B, N) subtracted at each clip's label."""
    at_label = F.one_hot(labels, similarity.shape[2])
    lowered = (similarity - penalty[..., None] * at_label).flatten(0, 1)  # (B*N, K)
    loss = F.cross_entropy(lowered, labels.repeat(len(similarity)), reduction="none")
    return loss.view_as(penalty)


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
        """Scalar loss of features (N, in_features); training mode moves the prototypes (Eq. 3)."""
        with torch.autocast(features.device.type, enabled=False):
            projected = self.project(features.to(self.project.weight.dtype))[None]
            outcomes = batch_outcomes(labels, logits, self.tp_threshold)
            losses, _ = contrast_branches([self], projected, outcomes)
        return losses[0]


def contrast_branches(
    branches: Sequence[PrototypeContrast], features: Tensor, outcomes: Outcomes
) -> tuple[Tensor, ContrastStats]:
    """Runs branches of one width together and stores their moved prototypes.

    Args:
        branches: B branches that share their options.
        features: (B, N, D), projected.

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
        self.spaces: tuple[str, ...] = ()
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
                self.spaces += (space,)
                weights.append(float(weight))
        self.register_buffer("branch_weights", torch.tensor(weights), persistent=False)

    def project(self, stages: Sequence[Tensor], num_clips: int, space: str) -> Tensor:
        """The features (N, D) of stage maps in one space, e.g. "fin.spatial"."""
        if space not in self.spaces:
            raise unknown_name("space", space, self.spaces)
        key, index = _module_name(space), self.spaces.index(space)
        level = self.levels[index * len(self.levels) // len(self.spaces)]
        branch = space.rsplit(".", 1)[1]
        x = stages[level - 1].to(self.branch_weights.dtype)
        x = x.mean({"spatial": 2, "temporal": 3, "pooled": (2, 3)}[branch])
        x = x.unflatten(0, (num_clips, -1)).mean(1)  # persons: (N, C, V), (N, C, T') or (N, C)
        return self.contrast[key].project(self.squeeze[key](x) if key in self.squeeze else x)

    def prototypes(self, space: str) -> Tensor:
        """(K, D) class prototypes of a space."""
        return self.contrast[_module_name(space)].prototypes

    def forward(self, stages: Sequence[Tensor], labels: Tensor, logits: Tensor) -> FRHeadOutput:
        """The head's loss for stage maps (N*M, C', T', V), labels (N,) and logits (N, K)."""
        branches = list(self.contrast.values())
        results = []
        with torch.autocast(logits.device.type, enabled=False):
            outcomes = batch_outcomes(labels, logits, branches[0].tp_threshold)
            features = [self.project(stages, len(labels), space) for space in self.spaces]
            pairs = zip(branches, features, strict=True)
            for _, group in groupby(pairs, key=lambda pair: pair[1].shape[1]):  # of one width
                some, together = zip(*group, strict=True)
                results.append(contrast_branches(some, torch.stack(together), outcomes))
        losses, stats = zip(*results, strict=True)
        losses = torch.cat(losses)
        _, fn_cosine, fp_cosine = (torch.cat(parts) for parts in zip(*stats, strict=True))
        joined = ContrastStats(stats[0].counts, fn_cosine, fp_cosine)
        return FRHeadOutput((losses * self.branch_weights).sum(), losses.detach(), joined)
