"""The loss of FR Head: contrast with class prototypes, calibrated by false negatives and positives.

Equations are those of Zhou, Liu, Wang, CVPR 2023. Functions of tensors; modules are in `fr_head`.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.sharing import summed

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
    is_label = _one_hot(labels, logits.shape[1]).to(probabilities.dtype)  # (N, K)
    is_predicted = _one_hot(logits.argmax(1), logits.shape[1]).to(probabilities.dtype)
    confidence = (probabilities * is_label).sum(1)
    hit = is_label * is_predicted
    sure = (confidence > tp_threshold).to(hit.dtype)[:, None] if tp_threshold > 0 else 1.0
    return Outcomes(labels, confidence, hit * sure, is_label - hit, is_predicted - hit)


def contrast(
    features: Tensor,
    prototypes: Tensor,
    outcomes: Outcomes,
    *,
    anchors: Anchors,
    use_fn: bool,
    use_fp: bool,
    confidence_weight: bool,
    temperature: float,
    momentum: float,
    seen: Tensor | None = None,
    update: bool = True,
    counted: bool = True,
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
        counted: False where these are clips of another rank, done again: centres and counts are
            those of all ranks' clips, each once.

    Returns:
        Losses (B,), means over these clips; prototypes after the step (B, K, D), through which the
        batch means get their gradient; and statistics.
    """
    labels, *floats = outcomes
    confidence, tp, fn, fp = (t.to(features.dtype) for t in floats)
    members = torch.cat([tp, fn, fp], 1).t()  # (3K, N)
    sums, counts = summed(members @ features, members.sum(1), counted=counted)  # of all ranks
    centres = sums / counts.clamp(min=1)[:, None]  # (B, 3K, D)
    counts = counts.view(3, -1)  # (3, K)
    has_tp, has_fn, has_fp = counts > 0
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
        is_label = _one_hot(labels, similarity.shape[2])
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
    at_label = _one_hot(labels, similarity.shape[2])
    lowered = (similarity - penalty[..., None] * at_label).flatten(0, 1)  # (B*N, K)
    loss = F.cross_entropy(lowered, labels.repeat(len(similarity)), reduction="none")
    return loss.view_as(penalty)


def _one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """(N, K) bool. torch's own reads the labels' range, which waits for the device."""
    return labels[:, None] == torch.arange(num_classes, device=labels.device)
