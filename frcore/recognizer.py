"""A skeleton action recogniser: backbone, classifier and, while it trains, an FR Head."""

import math
from typing import NamedTuple

from torch import Tensor, nn

from frcore.backbones.base import Backbone
from frcore.fr_head import FRHead


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
