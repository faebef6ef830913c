"""CTR-GCN with FR Head in the structure of the published code: what our speed is measured against.

Written from the descriptions of the papers and of the published models, with the names of their
state dicts. Its structure is theirs: a loop over three graph subsets with four convolutions each,
means taken after the convolutions, every temporal branch on its own, eight contrastive branches one
after the other, one-hot labels made on the host, figures read from the device in every step. Its
results are ours: `benchmarks/training.py` checks that before it measures.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.skeleton import Skeleton

WIDTHS = ((3, 64, 1), *[(64, 64, 1)] * 3, (64, 128, 2), *[(128, 128, 1)] * 2, (128, 256, 2),
          *[(256, 256, 1)] * 2)  # fmt: skip
LEVELS = {"low": 1, "mid": 5, "high": 8, "fin": 10}  # name of a head -> the block that it follows
LEVEL_WEIGHTS = (0.1, 0.2, 0.5, 1.0)
HIDDEN, TEMPERATURE, MOMENTUM = 256, 0.125, 0.9


class _Subset(nn.Module):
    """One graph subset: its topology refined by clip and channel, then the sum over joints."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        reduced = 8 if in_channels == 3 else in_channels // 8
        self.conv1 = nn.Conv2d(in_channels, reduced, 1)
        self.conv2 = nn.Conv2d(in_channels, reduced, 1)
        self.conv3 = nn.Conv2d(in_channels, channels, 1)
        self.conv4 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor, graph: Tensor, alpha: Tensor) -> Tensor:
        target, source, value = self.conv1(x).mean(2), self.conv2(x).mean(2), self.conv3(x)
        difference = torch.tanh(target.unsqueeze(-1) - source.unsqueeze(-2))
        topology = self.conv4(difference) * alpha + graph[None, None]
        return torch.einsum("ncuv,nctv->nctu", topology, value)


class _Graph(nn.Module):
    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.PA = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(_Subset(in_channels, channels) for _ in adjacency)
        self.bn = nn.BatchNorm2d(channels)
        self.down = None
        if in_channels != channels:
            conv = nn.Conv2d(in_channels, channels, 1)
            self.down = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = None
        for graph, conv in zip(self.PA, self.convs, strict=True):
            z = conv(x, graph, self.alpha)
            out = z if out is None else out + z
        out = self.bn(out)
        out += x if self.down is None else self.down(x)
        return F.relu(out, inplace=True)


class _Conv(nn.Module):
    """A convolution along time and batch norm."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(
            in_channels, channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class _Temporal(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        quarter = channels // 4

        def entry(stride: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(channels, quarter, 1, (stride, 1))
            return [conv, nn.BatchNorm2d(quarter)]

        dilated = [
            nn.Sequential(*entry(), nn.ReLU(inplace=True), _Conv(quarter, quarter, 5, stride, d))
            for d in (1, 2)
        ]
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        pooled = nn.Sequential(*entry(), nn.ReLU(inplace=True), pool, nn.BatchNorm2d(quarter))
        self.branches = nn.ModuleList([*dilated, pooled, nn.Sequential(*entry(stride))])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1) + 0  # no inner residual


class _Block(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, stride: int, adjacency: Tensor, first: bool
    ) -> None:
        super().__init__()
        self.gcn1 = _Graph(in_channels, channels, adjacency)
        self.tcn1 = _Temporal(channels, stride)
        self.first = first
        changes = not first and (in_channels != channels or stride > 1)
        self.residual = _Conv(in_channels, channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        skip = 0 if self.first else x if self.residual is None else self.residual(x)
        return F.relu(self.tcn1(self.gcn1(x)) + skip, inplace=True)


class PublishedCTRGCN(nn.Module):
    """CTR-GCN; a forward pass gives logits (N, K) and the maps after blocks 1, 5, 8 and 10.

    Args:
        skeleton: V joints. num_classes: K. num_persons: M.
    """

    def __init__(self, skeleton: Skeleton, num_classes: int, num_persons: int) -> None:
        super().__init__()
        adjacency = torch.from_numpy(skeleton.adjacency()).float()
        self.data_bn = nn.BatchNorm1d(num_persons * skeleton.num_joints * 3)
        for place, (i, o, stride) in enumerate(WIDTHS, 1):
            self.add_module(f"l{place}", _Block(i, o, stride, adjacency, first=place == 1))
        self.fc = nn.Linear(256, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        n, c, t, v, m = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(n, m * v * c, t)
        x = self.data_bn(x).view(n, m, v, c, t).permute(0, 1, 3, 4, 2).contiguous()
        x = x.view(n * m, c, t, v)
        stages = []
        for place in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"l{place}")(x)
            if place in LEVELS.values():
                stages.append(x)
        x = x.view(n, m, x.shape[1], -1).mean(3).mean(1)
        return self.fc(x), stages


class _Contrast(nn.Module):
    """One contrastive branch; its prototypes are no state, and lie (D, K)."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.cl_fc = nn.Linear(in_features, HIDDEN)
        self.avg_f = torch.randn(HIDDEN, num_classes)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return torch.eye(self.num_classes).to(labels.device)[labels]  # from the host: it waits

    def forward(self, x: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        feature = self.cl_fc(x)
        scores = logits.detach().softmax(1)
        is_label, is_predicted = self._one_hot(labels), self._one_hot(scores.argmax(1))
        tp, fn = is_label * is_predicted, is_label * (1 - is_predicted)
        fp = (1 - is_label) * is_predicted

        def mean_of(mask: Tensor) -> Tensor:  # (D, K)
            return feature.t() @ (mask / mask.sum(0).clamp(min=1))

        self.avg_f = self.avg_f.to(feature.device)
        moved = MOMENTUM * self.avg_f + (1 - MOMENTUM) * mean_of(tp)
        prototypes = torch.where(tp.sum(0) > 0, moved, self.avg_f)
        self.avg_f = prototypes.detach()
        unit = F.normalize(feature, dim=1)
        similarity = unit @ F.normalize(prototypes, dim=0) / TEMPERATURE
        weight = ((1 - scores) * is_label).sum(1) * tp.sum(1)  # of true positives alone
        loss = 0
        for mask, sign in ((fn, -1), (fp, 1)):
            cosine = unit @ F.normalize(mean_of(mask), dim=0)  # (N, K)
            there = (mask.sum(0) > 0).to(unit.dtype)
            penalty = (1 + sign * cosine) * is_label * there * weight[:, None]
            loss = loss + F.cross_entropy(similarity - penalty, labels, reduction="none")
        return loss.mean()


class _Level(nn.Module):
    """The spatial and the temporal branch on one stage."""

    def __init__(self, channels: int, frames: int, joints: int, num_classes: int) -> None:
        super().__init__()

        def squeeze(size: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, HIDDEN // size, 1)
            return nn.Sequential(conv, nn.BatchNorm2d(HIDDEN // size), nn.ReLU())

        self.spatio_squeeze, self.tempor_squeeze = squeeze(joints), squeeze(frames)
        self.spatio_cl_net = _Contrast(HIDDEN // joints * joints, num_classes)
        self.tempor_cl_net = _Contrast(HIDDEN // frames * frames, num_classes)

    def forward(self, stage: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        x = stage.view(len(labels), -1, *stage.shape[1:]).mean(1)
        spatial = self.spatio_squeeze(x.mean(2, keepdim=True)).flatten(1)
        temporal = self.tempor_squeeze(x.mean(3, keepdim=True)).flatten(1)
        spatial = self.spatio_cl_net(spatial, labels, logits)
        return spatial + self.tempor_cl_net(temporal, labels, logits)


class PublishedHead(nn.ModuleDict):
    """FR Head, one level after the other: `head(stages, labels, logits)` is a scalar."""

    def __init__(self, frames: int, joints: int, num_classes: int) -> None:
        lengths = (frames, -(-frames // 2), -(-frames // 4), -(-frames // 4))
        sizes = zip(LEVELS.items(), lengths, strict=True)
        super().__init__(
            {
                f"ren_{name}": _Level(WIDTHS[block - 1][1], length, joints, num_classes)
                for (name, block), length in sizes
            }
        )

    def forward(self, stages: list[Tensor], labels: Tensor, logits: Tensor) -> Tensor:
        loss = 0
        for weight, level, stage in zip(LEVEL_WEIGHTS, self.values(), stages, strict=True):
            loss = loss + weight * level(stage, labels, logits)
        return loss
