"""A skeleton action recogniser: backbone, classifier and, while it trains, an FR Head."""

import math
from typing import Any, NamedTuple

from torch import Tensor, nn

from frcore import __version__
from frcore.backbones import Backbone, create_backbone
from frcore.config import HeadConfig, ModelConfig, RunConfig
from frcore.data.benchmarks import Benchmark
from frcore.fr_head import FRHead
from frcore.skeleton import Skeleton


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
        pooled = stages[-1].flatten(2).mean(2)  # (N*M, D)
        embedding = pooled.unflatten(0, (len(clips), -1)).mean(1)  # persons: (N, D)
        return RecognizerOutput(self.classifier(self.dropout(embedding)), embedding, stages)


def build_recognizer(
    model: ModelConfig,
    head: HeadConfig | None,
    *,
    skeleton: Skeleton,
    num_classes: int,
    num_persons: int,
    num_frames: int,
    channels: int = 3,
) -> Recognizer:
    """The recogniser that a configuration describes, with fresh weights from torch's generator."""
    backbone = create_backbone(
        model.backbone,
        skeleton=skeleton,
        num_persons=num_persons,
        num_frames=num_frames,
        **{"in_channels": channels, **model.overrides},
    )
    fr_head = None
    if head is not None:
        options = head.model_dump(exclude={"weight"})
        fr_head = FRHead(backbone.stage_info, num_classes, **options)
    return Recognizer(backbone, num_classes=num_classes, head=fr_head, dropout=model.dropout)


def checkpoint_metadata(
    config: RunConfig, benchmark: Benchmark, fingerprint: str
) -> dict[str, Any]:
    """What makes a checkpoint self-describing: enough to build the model and to find its data."""
    return {
        "format": 1,
        "frcore": __version__,
        "model": config.model_name,
        "config": config.model_dump(mode="json"),
        "config_hash": config.hash,
        "benchmark": benchmark.to_dict(),
        "fingerprint": fingerprint,
        "class_names": list(benchmark.class_names),
        "select": config.train.select,
    }
