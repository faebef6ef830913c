"""pyskl's weights: AAGCN gives the recorded outputs, CTR-GCN those of its formula in float64."""

import re

import pytest
import torch
import torch.nn.functional as F

import frcore
from frcore.backbones.published import FAMILIES
from frcore.errors import UserError

UCLA = {"skeleton": "ucla20", "num_classes": 10, "num_persons": 1, "num_frames": 52}


@pytest.fixture(scope="module")
def clips(values):
    """The recorded input (2, 3, 52, 20, 1)."""
    x = values.uniform("input/ucla", 2 * 3 * 52 * 20).reshape(2, 3, 52, 20, 1)
    return torch.from_numpy(x).float()


def renamed(state, *rules, prefix="backbone."):
    """The same weights with other names; each rule is a pattern and what stands for it.

    A number of a block is counted down by one.
    """
    made = {}
    for key, tensor in state.items():
        for pattern, instead in rules:
            if match := re.search(pattern, key):
                numbers = [int(group) - 1 for group in match.groups()]
                key = key[: match.start()] + instead.format(*numbers) + key[match.end() :]
        made[key if key.startswith("cls_head.") else prefix + key] = tensor
    return {**made, f"{prefix}A": torch.zeros(3, 20, 20)}


def pyskl_aagcn(state):
    rules = [(r"^l(\d+)\.gcn1", "gcn.{}.gcn"), (r"^l(\d+)\.tcn1", "gcn.{}.tcn")]
    rules += [
        (r"^l(\d+)\.residual", "gcn.{}.residual"),
        (r"\.PA$", ".A"),
        (r"^fc", "cls_head.fc_cls"),
    ]
    return renamed(state, *rules)


def pyskl_ctrgcn(state):
    rules = [(r"^l(\d+)", "net.{}"), (r"\.PA$", ".A"), (r"^fc", "cls_head.fc_cls")]
    return renamed(state, *rules)


def test_aagcn_gives_the_recorded_outputs(published_state, recorded, clips, difference):
    state = pyskl_aagcn(published_state("aagcn_ucla"))
    model = frcore.from_published("aagcn", {"meta": {"epoch": 16}, "state_dict": state}, **UCLA)
    with torch.no_grad():
        assert difference(model(clips).logits, recorded("aagcn_ucla")["logits"]) < 1e-5
        logits = model.train()(clips).logits
    assert difference(logits, recorded("aagcn_ucla")["logits_train_mode"]) < 1e-4


class Formula:
    """pyskl's CTR-GCN on maps (N, C, T, V), from its own state dict."""

    def __init__(self, state, training):
        self.state = {k.removeprefix("backbone."): t.double() for k, t in state.items()}
        self.training = training

    def logits(self, clips):
        n, c, t, v, m = clips.shape
        x = clips.double().permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t)
        x = self.norm("data_bn", x).view(n * m, v, c, t).permute(0, 2, 3, 1)
        for block in range(10):
            x = self.block(f"net.{block}", x, stride=2 if block in (4, 7) else 1)
        pooled = x.mean((2, 3)).view(n, m, -1).mean(1)
        head = "cls_head.fc_cls"
        return F.linear(pooled, self.state[f"{head}.weight"], self.state[f"{head}.bias"])

    def block(self, name, x, stride):
        y = self.temporal(f"{name}.tcn1", self.graph(f"{name}.gcn1", x), stride)
        if name == "net.0":
            return F.relu(y)
        if f"{name}.residual.conv.weight" in self.state:
            residual = self.conv(f"{name}.residual.conv", x, stride=(stride, 1))
            return F.relu(y + self.norm(f"{name}.residual.bn", residual))
        return F.relu(y + x)

    def graph(self, name, x):
        y = 0
        for k in range(3):
            subset = f"{name}.convs.{k}"
            p, s = (self.conv(f"{subset}.conv{i}", x).mean(2) for i in (1, 2))  # (N, r, V)
            graph = self.conv(f"{subset}.conv4", torch.tanh(p[..., :, None] - s[..., None, :]))
            graph = graph * self.state[f"{name}.alpha"] + self.state[f"{name}.A"][k]
            y = y + torch.einsum("ncuv,nctu->nctv", graph, self.conv(f"{subset}.conv3", x))
        skip = x
        if f"{name}.down.0.weight" in self.state:
            skip = self.norm(f"{name}.down.1", self.conv(f"{name}.down.0", x))
        return F.relu(self.norm(f"{name}.bn", y) + skip)

    def temporal(self, name, x, stride):
        parts = []
        for k in range(3):
            branch = f"{name}.branches.{k}"
            y = F.relu(self.norm(f"{branch}.1", self.conv(f"{branch}.0", x)))
            if k == 2:
                pooled = F.max_pool2d(y, (3, 1), (stride, 1), (1, 0))
                parts.append(self.norm(f"{branch}.4", pooled))
                continue
            far = {"dilation": (k + 1, 1), "padding": (2 * (k + 1), 0)}
            y = self.conv(f"{branch}.3.conv", y, stride=(stride, 1), **far)
            parts.append(self.norm(f"{branch}.3.bn", y))
        last = f"{name}.branches.3"
        parts.append(self.norm(f"{last}.1", self.conv(f"{last}.0", x, stride=(stride, 1))))
        return F.relu(torch.cat(parts, dim=1))

    def conv(self, name, x, **options):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], **options)

    def norm(self, name, x):
        leaves = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.state[f"{name}.{leaf}"] for leaf in leaves)
        known = (None, None) if self.training else (mean, var)
        return F.batch_norm(x, *known, weight, bias, training=self.training)


@pytest.mark.parametrize("training", [False, True])
def test_ctrgcn_computes_its_formula(training, published_state, clips, difference):
    state = pyskl_ctrgcn(published_state("ctrgcn_ucla"))
    model = frcore.from_published("ctrgcn", state, **UCLA).double().train(training)
    with torch.no_grad():
        ours, theirs = model(clips.double()).logits, Formula(state, training).logits(clips)
    assert difference(ours, theirs) < 1e-9


@pytest.mark.parametrize("part", ["adjacency", "pair", "expand", "relu"])
def test_each_of_the_four_differences_counts(part, published_state, clips, difference):
    """With one of them left out, outputs in training are others."""
    published = published_state("ctrgcn_ucla")
    state = pyskl_ctrgcn(published)
    model = frcore.from_published("ctrgcn", state, temporal_relu=part != "relu", **UCLA)
    plain = FAMILIES["ctrgcn"](model.state_dict()).translate(published).ours
    kept = {key: plain[key] for key in plain if f".graph.conv.{part}" in key}
    assert bool(kept) == (part != "relu")
    model.load_state_dict(kept, strict=False)
    with torch.no_grad():
        ours = model.double().train()(clips.double()).logits
        theirs = Formula(state, training=True).logits(clips)
    assert difference(ours, theirs) > 1e-3


def test_the_original_and_pyskls_names_are_told_apart(published_state):
    published = published_state("ctrgcn_ucla")
    plain = frcore.from_published("ctrgcn", published, **UCLA)
    pyskl = frcore.from_published("ctrgcn", pyskl_ctrgcn(published), **UCLA)
    assert not plain.backbone.blocks[0].temporal.relu and pyskl.backbone.blocks[9].temporal.relu
    graph = "backbone.blocks.3.graph.conv.adjacency"
    assert torch.equal(plain.state_dict()[graph], pyskl.state_dict()[graph].mT)
    assert plain.state_dict().keys() == pyskl.state_dict().keys()


def test_other_networks_of_pyskl_are_refused(published_state):
    state = pyskl_aagcn(published_state("aagcn_ucla"))
    with pytest.raises(UserError, match="pyskl's names, of which aagcn and ctrgcn are read"):
        frcore.from_published("stgcn", state, **UCLA)
    with pytest.raises(
        UserError, match=r"look like those of 'aagcn'(.|\n)*net\.0\.gcn1\.A: missing"
    ):
        frcore.from_published("ctrgcn", state, **UCLA)
    del state["backbone.gcn.4.gcn.alpha"]
    with pytest.raises(UserError, match=r"gcn\.4\.gcn\.alpha: missing in the file, \(1,\) in aagc"):
        frcore.from_published("aagcn", state, **UCLA)
