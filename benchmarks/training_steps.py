"""The two training steps that `training.py` measures, and that they compute the same.

`Ours` is the trainer's own step on made-up clips; `Published` is the step of the published code.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from published_model import LEVELS, PublishedCTRGCN, PublishedHead
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from frcore.config import load_recipe
from frcore.data import from_arrays
from frcore.published import from_published
from frcore.run_dir import RunDir
from frcore.skeleton import get_skeleton
from frcore.train import Trainer

WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select")
BRANCHES = {"spatial": "spatio", "temporal": "tempor"}  # ours: theirs


class Sizes(NamedTuple):
    """What a step sees."""

    recipe: str
    skeleton: str
    classes: int
    persons: int
    frames: int
    batch: int


SIZES = {
    "nw_ucla": Sizes("nw_ucla_joint_frhead", "ucla20", 10, 1, 52, 16),
    "ntu": Sizes("ntu120_xsub_joint_frhead", "ntu25", 120, 2, 64, 64),
}


class Ours:
    """The trainer's step.

    Args:
        sizes: of the clips; gives the recipe, too.
        device: where it runs.
        folder: for the clips and the run.
        head: with FR Head.
        precision: "fp32" or "bf16".
        compile: as `train.compile`.
    """

    def __init__(
        self,
        sizes: Sizes,
        device: torch.device,
        folder: Path,
        *,
        head: bool,
        precision: str,
        compile: str = "off",
    ) -> None:
        changes = {
            "benchmark": "bench",
            "data.protocol": None,
            "data.transform.frames": sizes.frames,
            "train.batch_size": sizes.batch,
            "train.precision": precision,
            "train.compile": compile,
        }
        if head:
            changes["head.anchors"] = "true_positive"
        recipe = sizes.recipe if head else sizes.recipe.removesuffix("_frhead")
        config = load_recipe(recipe, changes)
        run = folder / f"{head}-{precision}-{compile}"
        run.mkdir()
        store = from_arrays("bench", **_made_up(sizes), root=folder)
        with RunDir(run) as directory:
            self.trainer = Trainer(config, store, directory, device)
        self.model = self.trainer.model.train()
        self.index = torch.arange(sizes.batch, device=device)
        self.repeat = torch.zeros_like(self.index)
        self.labels = self.trainer.splits.train.clips.labels
        self.clips = self.trainer.splits.train(self.index, epoch=0)

    def step(self, clips: Tensor) -> None:
        """One update by these clips (N, C, T, V, M)."""
        self.trainer._train_step(self.index, self.repeat, clips)


class Published:
    """The published step: every figure is read from the device at once.

    Args:
        sizes: of the clips.
        device: where it runs.
        head: with FR Head.
        lr, weight_decay: of the optimiser.
        memory_format: of the backbone's maps.
    """

    def __init__(
        self,
        sizes: Sizes,
        device: torch.device,
        *,
        head: bool,
        lr: float,
        weight_decay: float,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.sizes, skeleton = sizes, get_skeleton(sizes.skeleton)
        self.model = PublishedCTRGCN(skeleton, sizes.classes, sizes.persons)
        self.model.to(device, memory_format=memory_format)
        _stir(self.model)
        weights = list(self.model.parameters())
        self.head = None
        if head:
            self.head = PublishedHead(sizes.frames, skeleton.num_joints, sizes.classes).to(device)
            weights += self.head.parameters()
        self.optimizer = torch.optim.SGD(
            weights, lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )

    def loss(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of a batch, and its logits."""
        logits, stages = self.model(clips)
        loss = F.cross_entropy(logits, labels)
        if self.head is not None:
            loss = loss + 0.1 * self.head(stages, labels, logits)
        return loss, logits

    def step(self, clips: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update; loss and accuracy."""
        loss, logits = self.loss(clips, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), (logits.argmax(1) == labels).float().mean().item()

    def state(self) -> dict[str, Tensor]:
        """All weights, statistics and prototypes by our names."""
        sizes = self.sizes
        model = from_published(
            "ctrgcn",
            self.model.state_dict(),
            skeleton=sizes.skeleton,
            num_classes=sizes.classes,
            num_persons=sizes.persons,
            num_frames=sizes.frames,
        )
        state = {name: t.to(self.model.fc.weight.device) for name, t in model.state_dict().items()}
        if self.head is None:
            return state
        for name, (branch, prefix) in product(LEVELS, BRANCHES.items()):
            level, key = self.head[f"ren_{name}"], f"{name}_{branch}"
            squeeze = getattr(level, f"{prefix}_squeeze")
            contrast = getattr(level, f"{prefix}_cl_net")
            prototypes = contrast.avg_f.t()
            state[f"head.squeeze.{key}.conv.weight"] = squeeze[0].weight.detach().flatten(2)
            state[f"head.squeeze.{key}.conv.bias"] = squeeze[0].bias.detach()
            for part, value in squeeze[1].state_dict().items():
                state[f"head.squeeze.{key}.norm.{part}"] = value
            for part, value in contrast.cl_fc.state_dict().items():
                state[f"head.contrast.{key}.project.{part}"] = value
            state[f"head.contrast.{key}.prototypes"] = prototypes
            state[f"head.contrast.{key}.seen"] = torch.ones(len(prototypes), dtype=torch.bool)
        return state


def pair(
    sizes: Sizes, device: torch.device, folder: Path, *, head: bool, precision: str = "fp32"
) -> tuple[Ours, Published]:
    """Both steps, with the same weights, settings and clips of every outcome."""
    ours = Ours(sizes, device, folder, head=head, precision=precision)
    optim = ours.trainer.config.optim
    lr = optim.lr / optim.warmup_epochs
    published = Published(sizes, device, head=head, lr=lr, weight_decay=optim.weight_decay)
    with torch.no_grad():
        predicted = published.model.train()(ours.clips)[0].argmax(1)
    ours.labels.copy_(labels_of_all_outcomes(predicted, sizes.classes))
    ours.model.load_state_dict(published.state())
    return ours, published


def labels_of_all_outcomes(predicted: Tensor, classes: int) -> Tensor:
    """Labels (N,) that make every third clip right and the others wrong in both ways.

    A wrong one is a false negative of a class that has a true positive, where the network predicts
    several, and a false positive of what it was taken for: else the head had nothing to calibrate.
    """
    labels = predicted.clone()
    right = torch.arange(len(labels), device=labels.device) % 3 == 0
    known = predicted[right]  # classes with a true positive
    for n in (~right).nonzero().flatten().tolist():
        others = known[known != predicted[n]]
        labels[n] = others[n % len(others)] if len(others) else (predicted[n] + 1) % classes
    return labels


def check_equal(ours: Ours, published: Published) -> None:
    """One update of each: weights, statistics and prototypes come out the same.

    Raises:
        AssertionError: naming the tensor that does not.
    """
    ours.step(ours.clips)
    published.step(ours.clips, ours.labels)
    found = ours.model.state_dict()
    for name, expected in published.state().items():
        torch.testing.assert_close(
            found[name],
            expected,
            rtol=1e-3,
            atol=1e-4,
            msg=lambda text, name=name: f"{name}: {text}",
        )


class _Operators(TorchDispatchMode):
    """Counts what a device has to run, and what makes the host wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.count += not func.is_view
        self.waits += name in WAITS
        return func(*args, **(kwargs or {}))


def cost_of(step: Callable[[], Any]) -> dict[str, Any]:
    """What a step costs without a clock: operators, waits for the device, MB kept for backward."""
    kept: dict[int, int] = {}  # storages, each once

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    with _Operators() as operators:
        step()
    return {
        "operators": operators.count,
        "waits": operators.waits,
        "saved_mb": round(sum(kept.values()) / 2**20, 1),
    }


def _stir(model: PublishedCTRGCN) -> None:
    """Weights as if trained for a while: fresh ones hide the refined topologies behind zeros."""
    for name, parameter in model.named_parameters():
        if name.endswith("gcn1.alpha"):
            nn.init.constant_(parameter, 0.5)
        elif name.endswith("gcn1.bn.weight"):
            nn.init.normal_(parameter, 1.0, 0.02)


def _made_up(sizes: Sizes) -> dict[str, Any]:
    """Clips for one step, and one to test."""
    rng, count = np.random.default_rng(0), sizes.batch + 1
    joints = get_skeleton(sizes.skeleton).num_joints
    shape = (count, sizes.frames, joints, 3, sizes.persons)
    return {
        "clips": list(rng.normal(size=shape).astype(np.float32)),
        "labels": [i % sizes.classes for i in range(count)],
        "split": ["train"] * sizes.batch + ["test"],
        "skeleton": sizes.skeleton,
        "class_names": [f"class {k}" for k in range(sizes.classes)],
    }
