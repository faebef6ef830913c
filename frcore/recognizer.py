"""A skeleton action recogniser: backbone, classifier and, while it trains, an FR Head."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frcore import __version__
from frcore.backbones import Backbone, create_backbone
from frcore.backbones.layers import average
from frcore.config import RunConfig
from frcore.config_errors import ConfigError, report
from frcore.data.benchmarks import Benchmark
from frcore.errors import UserError
from frcore.fr_head import FRHead
from frcore.process import code_commit

FORMAT = 1  # of a checkpoint's metadata


class RecognizerOutput(NamedTuple):
    """What a recogniser says of N clips."""

    logits: Tensor  # (N, K)
    embedding: Tensor  # (N, D): mean over joints, frames and persons of the last stage
    stages: tuple[Tensor, ...]  # maps (N*M, C', T', V'), one a stage


class Recognizer(nn.Module):
    """Backbone and linear classifier; `head` is used by the training loop and by head spaces only.

    Args:
        backbone: maps clips (N, C, T, V, M) to stages.
        num_classes: K.
        head: an FR Head on the backbone's stages; None at inference.
        dropout: on the embedding, before the classifier.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        head: FRHead | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(backbone.num_features, num_classes)
        nn.init.normal_(self.classifier.weight, 0.0, math.sqrt(2.0 / num_classes))
        self.head = head

    def forward(self, clips: Tensor) -> RecognizerOutput:
        """Logits, embedding and stages of clips (N, C, T, V, M)."""
        stages = self.backbone(clips)
        dtype = self.classifier.weight.dtype  # also under autocast: the rest is small
        pooled = average(stages[-1], 2, 3, dtype=dtype)  # (N*M, D)
        embedding = pooled.unflatten(0, (clips.shape[0], -1)).mean(1)  # persons: (N, D)
        with torch.autocast(clips.device.type, enabled=False):
            logits = self.classifier(self.dropout(embedding))
        return RecognizerOutput(logits, embedding, stages)


def build_recognizer(config: RunConfig, benchmark: Benchmark, *, head: bool = True) -> Recognizer:
    """The recogniser that a configuration describes, with fresh weights from torch's generator.

    Args:
        config: of the run.
        benchmark: gives skeleton, classes, persons and channels.
        head: with the configuration's FR Head, if it has one; False builds none.
    """
    given = {
        "skeleton": benchmark.skeleton,
        "num_persons": config.data.persons or benchmark.num_persons,
        "num_frames": config.data.transform.frames or benchmark.num_frames,
        "in_channels": benchmark.channels,
    }
    if fixed := sorted(given.keys() & config.model.overrides.keys()):
        raise UserError(f"model.overrides cannot set {', '.join(fixed)}: the data decide.")
    backbone = create_backbone(config.model.backbone, **given, **config.model.overrides)
    fr_head = None
    if head and config.head is not None:
        options = config.head.model_dump(exclude={"weight"})
        fr_head = FRHead(backbone.stage_info, benchmark.num_classes, **options)
    return Recognizer(
        backbone,
        num_classes=benchmark.num_classes,
        head=fr_head,
        dropout=config.model.dropout,
    )


def check_model(config: RunConfig, benchmark: Benchmark) -> None:
    """Builds the model without its weights: what is wrong with it is known before data are read.

    Raises:
        ConfigError: an unknown backbone or override, a value it refuses, levels it does not have,
            more persons than there are.
    """
    mistakes = []
    persons = config.data.persons or 1
    if persons > benchmark.num_persons:
        there = f"a clip of {benchmark.name} has at most {benchmark.num_persons}"
        mistakes.append(f"data.persons: {there}, not {persons}.")
    try:
        with torch.device("meta"):
            build_recognizer(config, benchmark)
    except UserError as error:
        mistakes.append(f"model: {error}")
    if mistakes:
        raise ConfigError(report(mistakes, config.name))


def checkpoint_metadata(
    config: RunConfig, benchmark: Benchmark, fingerprint: str
) -> dict[str, Any]:
    """What makes a checkpoint self-describing: enough to build the model and to find its data."""
    return {
        "format": FORMAT,
        "frcore": __version__,
        "commit": code_commit(),
        "model": config.model_name,
        "config": config.model_dump(mode="json"),
        "config_hash": config.hash,
        "benchmark": benchmark.to_dict(),
        "fingerprint": fingerprint,
        "class_names": list(benchmark.class_names),
        "select": config.train.select,
    }
