"""A training step with a loss or gradient that is not finite leaves nothing behind.

The check stays on the device: the optimiser skips, batch-norm statistics and prototypes go back to
what they were, and only every `read_every` steps the verdicts are read and bad batches named.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from frcore.errors import UserError

log = logging.getLogger(__name__)

_PATIENCE = 3  # bad steps in a row that end a run
_SHOWN = 64  # clips named a step


class NonFiniteError(UserError):
    """Training stopped: three steps in a row gave a loss or gradients that are not finite."""


class StepGuard:
    """Applies an optimiser step if loss and gradients are finite; else undoes the forward pass.

    Args:
        model: its buffers are undone; they become views of one tensor a type, so that one copy
            saves them all. Place the model on its device before.
        optimizer: a fused SGD with momentum buffers (fused optimisers skip on `found_inf`).
        name_clips: sample ids of a batch's index, for messages.
        read_every: steps between reads of the verdicts; 1 on a CPU, where reading is free.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.SGD,
        name_clips: Callable[[Tensor], list[str]],
        *,
        read_every: int = 1,
    ) -> None:
        self.optimizer, self.name_clips, self.read_every = optimizer, name_clips, read_every
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._flat = flatten_buffers(model)
        self._saved = [flat.clone() for flat in self._flat]
        self._pending: list[tuple[str, Tensor, Tensor]] = []  # (position, batch index, ok)
        self.in_a_row = 0  # bad steps, up to the last one read

    def before_forward(self) -> None:
        """Remembers batch-norm statistics and prototypes."""
        for saved, flat in zip(self._saved, self._flat, strict=True):
            saved.copy_(flat)

    def undo_forward(self) -> None:
        """Batch-norm statistics and prototypes as they were, where a step was broken off."""
        for saved, flat in zip(self._saved, self._flat, strict=True):
            flat.copy_(saved)

    def step(self, loss: Tensor, index: Tensor, position: str) -> Tensor:
        """Steps the optimiser if all is finite.

        Args:
            loss: scalar, after `backward`.
            index: the batch's clips, for `name_clips`.
            position: where in the run, for messages.

        Returns:
            That verdict, a bool scalar on the device.

        Raises:
            NonFiniteError: see `read`.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        ok = torch.isfinite(loss.detach()) & torch.isfinite(norm)
        self.optimizer.grad_scale = None
        self.optimizer.found_inf = (~ok).float()
        self.optimizer.step()
        for saved, flat in zip(self._saved, self._flat, strict=True):
            flat.copy_(torch.where(ok, flat, saved))
        self._pending.append((position, index, ok))
        if len(self._pending) >= self.read_every:
            self.read()
        return ok

    def read(self) -> None:
        """Reads the verdicts so far.

        Raises:
            NonFiniteError: after three bad steps in a row, naming the clips of the last.
        """
        if not self._pending:
            return
        verdicts = torch.stack([ok for *_, ok in self._pending]).tolist()
        pending, self._pending = self._pending, []
        for (position, index, _), ok in zip(pending, verdicts, strict=True):
            self.in_a_row = 0 if ok else self.in_a_row + 1
            if ok:
                continue
            names = list(dict.fromkeys(self.name_clips(index)))  # each once, whatever the repeats
            more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
            shown = ", ".join(names[:_SHOWN]) + more
            log.warning(
                "%s: loss or gradients not finite; step skipped. Clips: %s", position, shown
            )
            if self.in_a_row >= _PATIENCE:
                raise NonFiniteError(
                    f"{position}: {_PATIENCE} steps in a row gave a loss or gradients that are not "
                    f"finite; none of them changed the model. Clips of the last: {shown}. Try a "
                    "smaller optim.lr, train.precision=fp32, and `frcore data check`."
                )


def flatten_buffers(model: nn.Module) -> list[Tensor]:
    """Makes all buffers of a type views of one flat tensor; returns the flat tensors."""
    owners: dict[torch.dtype, list[tuple[nn.Module, str, Tensor]]] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                owners.setdefault(buffer.dtype, []).append((module, name, buffer))
    flats = []
    for found in owners.values():
        flat = torch.cat([buffer.flatten() for *_, buffer in found])
        sizes = [buffer.numel() for *_, buffer in found]
        for (module, name, buffer), view in zip(found, flat.split(sizes), strict=True):
            # .data: a version counter of its own, or autograd would take one layer's update of its
            # statistics for a change of every other layer's.
            module._buffers[name] = view.data.view(buffer.shape)
        flats.append(flat)
    return flats
