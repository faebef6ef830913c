"""A recogniser over a split: logits and features, batch by batch, without gradients."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from frcore.data.augment import ClipPipeline
from frcore.device import autocast
from frcore.display import SILENT
from frcore.errors import unknown_name
from frcore.ranks import here, highest
from frcore.recognizer import Recognizer
from frcore.sharing import join_rows

log = logging.getLogger(__name__)

BACKBONE_SPACE = "backbone"


class Stopped(Exception):
    """An evaluation was asked to stop before its end."""


@torch.no_grad()
def forward_split(
    model: Recognizer,
    pipeline: ClipPipeline,
    *,
    batch_size: int,
    dtype: torch.dtype,
    spaces: Sequence[str] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K) and features {space: (N, D)} of all clips of a pipeline, float32 on the CPU.

    The model is in evaluation mode meanwhile and in its former mode afterwards. Where several
    processes make one run, each does some of the batches and gets the rows of all.

    Args:
        model: on its device.
        pipeline: the clips, as it gives them.
        batch_size: clips at a time.
        dtype: of the backbone, see `choose_precision`.
        spaces: whose features to keep: "backbone" or the head's.
        stopped: asked before every batch's forward pass.

    Raises:
        UserError: for a space that the model does not have.
        Stopped: when `stopped()` is true, in any process.
    """
    known = (BACKBONE_SPACE, *(model.head.spaces if model.head is not None else ()))
    for space in spaces:
        if space not in known:
            raise unknown_name("space", space, known)
    was_training, device = model.training, next(model.parameters()).device
    logits: list[Tensor] = []
    features: dict[str, list[Tensor]] = {space: [] for space in spaces}
    batches = torch.arange(len(pipeline.clips)).split(batch_size)
    own = batches[here().rank :: here().size]
    asked = False
    bar = {"desc": "evaluation", "unit": "batch", "delay": 2, "leave": False}
    model.eval()
    try:
        with closing(pipeline.batches([(index, 0) for index in own or batches[:1]])) as made:
            for clips in tqdm(made, total=len(own), disable=SILENT.get(), **bar):
                if asked := stopped():
                    break
                with autocast(device, dtype):
                    out = model(clips.to(device))
                logits.append(out.logits.float())
                for space, parts in features.items():
                    if space == BACKBONE_SPACE:
                        part = out.embedding
                    else:
                        part = model.head.project(out.stages, len(clips), space)
                    parts.append(part.float())
    finally:
        model.train(was_training)
    if highest(int(asked)):
        raise Stopped
    places = torch.cat(own) if own else torch.arange(0)

    def whole(parts: list[Tensor]) -> Tensor:
        rows = torch.cat(parts).cpu()[: len(places)]  # none of a batch that others did
        return join_rows(rows, places, len(pipeline.clips))

    return whole(logits), {space: whole(parts) for space, parts in features.items()}


def unusable_clips(pipeline: ClipPipeline, finite: Tensor) -> str:
    """What to say of the clips whose scores are not finite; `finite` (N,) bool."""
    bad = [pipeline.clips.sample_ids[i] for i in (~finite).nonzero().flatten().tolist()]
    more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
    return (
        f"{len(bad)} clips give scores that are not finite: {', '.join(bad[:10])}{more}. "
        "`frcore data check` tells whether they hold NaN, which `repair=` mends when data are "
        "prepared; otherwise the weights are not finite."
    )


def judge_splits(
    model: Recognizer,
    judges: Mapping[str, ClipPipeline],
    unseen: Mapping[str, Tensor],
    *,
    batch_size: int,
    dtype: torch.dtype,
    skip: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, float], dict[str, Any]]:
    """An epoch's accuracies, and what it says of every clip.

    Args:
        model, batch_size, dtype, stopped: see `forward_split`.
        judges: pipelines by split, "val" and "test".
        unseen: (N,) bool by split, where some clips are copies of training clips.
        skip: evaluate nothing, but give the same names.

    Returns:
        "<split>_acc" and, with `unseen`, "<split>_acc_unseen" (NaN if skipped); "<split>_predicted"
        (N,) int16 (-1 if skipped) and "<split>_p_true" (N,) float32 (NaN if skipped). A clip whose
        scores are not finite is named in a warning and counts as wrong.
    """
    scores: dict[str, float] = {}
    clips: dict[str, Any] = {}
    for split, pipeline in judges.items():
        labels = pipeline.clips.labels.cpu()
        predicted, p_true = torch.full_like(labels, -1), torch.full(labels.shape, math.nan)
        if not skip:
            logits, _ = forward_split(
                model, pipeline, batch_size=batch_size, dtype=dtype, stopped=stopped
            )
            finite = logits.isfinite().all(1)
            if not finite.all():
                log.warning(unusable_clips(pipeline, finite))
            predicted = torch.where(finite, logits.argmax(1), -1)  # counts as wrong
            p_true = torch.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
        correct = (predicted == labels).double()
        scores[f"{split}_acc"] = math.nan if skip else correct.mean().item()
        if split in unseen:
            own = math.nan if skip else correct[unseen[split]].mean().item()
            scores[f"{split}_acc_unseen"] = own
        clips[f"{split}_predicted"] = predicted.numpy().astype("int16")
        clips[f"{split}_p_true"] = p_true.numpy()
    return scores, clips
