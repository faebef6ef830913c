"""What one epoch leaves behind: sums on the device while it runs, rows and arrays when it ends.

The sums are saved with a checkpoint, so an epoch that was cut in two gives the same row as one that
was not.
"""

import math
from typing import Any

import torch
from torch import Tensor

from frcore.fr_head import FRHeadOutput
from frcore.ranks import is_first, reduce_

_NOBODY = {"predicted": -1, "p_true": math.nan}  # else sums, from 0


class EpochRecord:
    """Running sums of one training epoch: losses, outcomes, calibration, each clip's prediction.

    In one of several processes: its part of them, until `collect` brings all to the first.

    Args:
        num_clips: N, clips of the training split.
        num_classes: K.
        repeats: times each clip is seen.
        spaces: the head's branches; None without a head.
        weight: of the head's loss.
        device: where the sums live; `add` reads nothing from it.
    """

    def __init__(
        self,
        num_clips: int,
        num_classes: int,
        *,
        repeats: int = 1,
        spaces: tuple[str, ...] | None = None,
        weight: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spaces, self.weight = spaces, weight

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        views = (repeats, num_clips)
        self.sums = {
            "views": zeros(),  # in steps that were applied
            "skipped": zeros(),  # steps that were not
            "correct": zeros(),
            "ce": zeros(),
            "predicted": torch.full(views, _NOBODY["predicted"], dtype=torch.int32, device=device),
            "p_true": torch.full(views, _NOBODY["p_true"], device=device),
        }
        if spaces is not None:
            self.sums |= {
                "cl": zeros(),
                "branches": zeros(len(spaces)),
                "counts": zeros(3, num_classes),  # TP, FN, FP
                "fn_cosine": zeros(len(spaces), num_classes),  # over the batches that had any
                "fp_cosine": zeros(len(spaces), num_classes),
                "fn_batches": zeros(num_classes),
                "fp_batches": zeros(num_classes),
            }

    def add(
        self,
        index: Tensor,
        repeat: Tensor,
        labels: Tensor,
        logits: Tensor,
        ce: Tensor,
        head: FRHeadOutput | None,
        ok: Tensor,
        *,
        counted: bool = True,
    ) -> None:
        """Adds one step of n views, if it was applied.

        Args:
            index, repeat: (n,) int64, which clips and which of their views.
            labels: (n,) int64.
            logits: (n, K).
            ce: scalar, the batch's mean.
            head: what the head said.
            ok: bool scalar on the device: the step was applied.
            counted: False where another rank adds these views.
        """
        sums = self.sums

        def grow(name: str, value: Tensor | float) -> None:
            # A plain number stays one: as a tensor it would be copied to the device and waited for.
            value = value.double() if isinstance(value, Tensor) else value
            sums[name] += torch.where(ok, value, 0.0)

        if counted:
            n, logits = len(labels), logits.detach().float()
            predicted = logits.argmax(1)
            p_true = torch.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
            grow("views", float(n))
            grow("correct", (predicted == labels).sum())
            grow("ce", ce.detach() * n)
            view = repeat, index  # each is in one step an epoch
            sums["predicted"][view] = torch.where(ok, predicted.int(), _NOBODY["predicted"])
            sums["p_true"][view] = torch.where(ok, p_true, _NOBODY["p_true"])
            if head is not None:
                grow("cl", head.loss.detach() * n)
                grow("branches", head.branch_losses.double() * n)
        if is_first():  # every rank knows the same of the whole batch
            sums["skipped"] += (~ok).double()
            if head is not None:
                grow("counts", head.stats.counts)
                grow("fn_cosine", head.stats.fn_cosine)
                grow("fp_cosine", head.stats.fp_cosine)
                grow("fn_batches", head.stats.counts[1] > 0)
                grow("fp_batches", head.stats.counts[2] > 0)

    def collect(self) -> None:
        """Brings what every rank has added to the first one; the others begin anew."""
        for name, value in self.sums.items():
            if name in _NOBODY:  # -1 or NaN where a rank has not seen a view
                seen = reduce_(value.nan_to_num(-1), "max")
                value.copy_(torch.where(seen < 0, _NOBODY[name], seen))
            else:
                reduce_(value)
            if not is_first():
                value.fill_(_NOBODY.get(name, 0))

    @property
    def skipped_steps(self) -> int:
        """Steps that were not applied."""
        return int(self.sums["skipped"])

    def losses(self) -> dict[str, float]:
        """Means over the views so far: loss, ce and, with a head, cl (loss = ce + weight * cl).

        NaN where no step was applied.
        """
        ce = self._mean("ce")
        if self.spaces is None:
            return {"loss": ce, "ce": ce}
        cl = self._mean("cl")
        return {"loss": ce + self.weight * cl, "ce": ce, "cl": cl}

    def accuracy(self) -> float:
        """Share of the views so far that were predicted right; NaN where no step was applied."""
        return self._mean("correct")

    def _mean(self, name: str) -> float:
        return float(self.sums[name] / self.sums["views"])  # 0 / 0 is NaN

    def row(self) -> dict[str, float]:
        """The epoch's part of metrics.csv: means over its views, and counts."""
        row = self.losses()
        if self.spaces is not None:
            branches = self.sums["branches"] / self.sums["views"]
            for space, value in zip(self.spaces, branches.tolist(), strict=True):
                row[f"cl_{space.replace('.', '_')}"] = value
            counts = self.sums["counts"].sum(1).long().tolist()
            row |= dict(zip(("tp", "fn", "fp"), counts, strict=True))
        return row | {"train_acc": self.accuracy()}

    def calibration(self) -> dict[str, Any]:
        """What the head saw, for calibration.npz.

        Returns:
            "tp", "fn", "fp": (K,) clips of each class in these sets, which all branches share;
            "fn_cosine", "fp_cosine": (B, K) cosine of their centre to the prototype, the mean over
            the batches that had any (NaN: none); "fn_batches", "fp_batches": (K,) how many had.
        """
        sums = {k: v.cpu() for k, v in self.sums.items()}

        def mean(name: str) -> Any:
            batches = sums[f"{name}_batches"]
            return (sums[f"{name}_cosine"] / batches).float().numpy()  # 0 / 0 is NaN

        tp, fn, fp = sums["counts"].long().numpy()
        return {
            "tp": tp,
            "fn": fn,
            "fp": fp,
            "fn_cosine": mean("fn"),
            "fp_cosine": mean("fp"),
            "fn_batches": sums["fn_batches"].int().numpy(),
            "fp_batches": sums["fp_batches"].int().numpy(),
        }

    def history(self) -> dict[str, Any]:
        """Each training clip's predicted class and p of its true class, in its last view.

        -1 and NaN where that step was not applied.
        """
        return {
            "train_predicted": self.sums["predicted"][-1].cpu().numpy().astype("int16"),
            "train_p_true": self.sums["p_true"][-1].cpu().numpy(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """All sums, for a checkpoint."""
        return {f"meters.{k}": v for k, v in self.sums.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continues from the sums of a checkpoint, which the first rank takes up."""
        for name, value in self.sums.items():
            if is_first():
                value.copy_(tensors[name])
