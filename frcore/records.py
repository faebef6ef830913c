"""What one epoch leaves behind: sums on the device while it runs, rows and arrays when it ends.

The sums are saved with a checkpoint, so an epoch that was cut in two gives the same row as one that was not.
"""

from typing import Any

import torch
from torch import Tensor

from frcore.fr_head import FRHeadOutput


class EpochRecord:
    """Running sums of one training epoch: losses, outcomes, calibration and each clip's prediction.

    Args:
        num_clips: N, clips of the training split.
        num_classes: K.
        spaces: the head's branches, () without a head.
        device: where the sums live; nothing is read from it before the epoch ends.
    """

    def __init__(
        self, num_clips: int, num_classes: int, spaces: tuple[str, ...], device: torch.device
    ) -> None:
        self.spaces = spaces
        branches = len(spaces)

        def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.sums = {
            "views": zeros(),  # clips seen in steps that counted
            "correct": zeros(),
            "ce": zeros(),
            "cl": zeros(),
            "branches": zeros(branches),
            "counts": zeros(3, num_classes),  # TP, FN, FP
            "fn_cosine": zeros(branches, num_classes),  # summed over the batches that had any
            "fp_cosine": zeros(branches, num_classes),
            "fn_batches": zeros(num_classes),
            "fp_batches": zeros(num_classes),
            "skipped": zeros(),
            "predicted": torch.full((num_clips,), -1, dtype=torch.int32, device=device),
            "p_true": zeros(num_clips, dtype=torch.float32),
        }

    def add(
        self,
        index: Tensor,
        labels: Tensor,
        logits: Tensor,
        ce: Tensor,
        head: FRHeadOutput | None,
        ok: Tensor,
    ) -> None:
        """Adds one step, if `ok` (a bool scalar on the device): no value is read back."""
        s, n = self.sums, len(labels)
        logits = logits.detach().float()
        predicted = logits.argmax(1)
        p_true = torch.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)

        def grow(name: str, value: Tensor | float) -> None:
            value = torch.as_tensor(value, dtype=torch.float64, device=ok.device)
            s[name] += torch.where(ok, value, 0.0)

        grow("views", float(n))
        grow("correct", (predicted == labels).sum())
        grow("ce", ce.detach() * n)
        s["skipped"] += (~ok).double()
        s["predicted"][index] = torch.where(ok, predicted.int(), s["predicted"][index])
        s["p_true"][index] = torch.where(ok, p_true, s["p_true"][index])
        if head is not None:
            grow("cl", head.loss.detach() * n)
            grow("branches", head.branch_losses.double() * n)
            grow("counts", head.stats.counts)
            grow("fn_cosine", head.stats.fn_cosine)
            grow("fp_cosine", head.stats.fp_cosine)
            grow("fn_batches", head.stats.counts[1] > 0)
            grow("fp_batches", head.stats.counts[2] > 0)

    def row(self) -> dict[str, float]:
        """Means over the views of the epoch, for metrics.csv."""
        s = {k: v.cpu() for k, v in self.sums.items()}
        views = max(float(s["views"]), 1.0)
        row = {"loss": 0.0, "ce": float(s["ce"]) / views, "cl": float(s["cl"]) / views}
        for space, value in zip(self.spaces, s["branches"].tolist(), strict=True):
            row[f"cl_{space.replace('.', '_')}"] = value / views
        if self.spaces:
            tp, fn, fp = s["counts"].sum(1).long().tolist()
            row |= {"tp": tp, "fn": fn, "fp": fp}
        row["train_acc"] = float(s["correct"]) / views
        row["skipped_steps"] = int(s["skipped"])
        return row

    def calibration(self) -> dict[str, Any]:
        """By class (and branch): set sizes, mean cosine of FN and FP centres to the prototype (NaN: none)."""
        s = {k: v.cpu() for k, v in self.sums.items()}
        nothing = torch.tensor(float("nan"), dtype=torch.float64)

        def mean(name: str) -> Tensor:
            batches = s[f"{name}_batches"]
            return torch.where(batches > 0, s[f"{name}_cosine"] / batches.clamp(min=1), nothing)

        tp, fn, fp = s["counts"].long()
        return {
            "tp": tp.numpy(),
            "fn": fn.numpy(),
            "fp": fp.numpy(),
            "fn_cosine": mean("fn").float().numpy(),
            "fp_cosine": mean("fp").float().numpy(),
        }

    def history(self) -> dict[str, Any]:
        """Each training clip's predicted class (its last view of the epoch) and p of its true class."""
        return {
            "train_predicted": self.sums["predicted"].cpu().numpy().astype("int16"),
            "train_p_true": self.sums["p_true"].cpu().numpy().astype("float32"),
        }

    def tensors(self) -> dict[str, Tensor]:
        """All sums, for a checkpoint."""
        return {f"meters.{k}": v for k, v in self.sums.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continues from the sums of a checkpoint."""
        for name, value in self.sums.items():
            value.copy_(tensors[name])
