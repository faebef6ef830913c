"""Shift-GCN: which feature goes where, between joints and between frames."""

import pytest
import torch

from frcore.backbones import create_backbone
from frcore.backbones.shiftgcn import ShiftGraphUnit, TemporalShift, shifted_joints


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_each_channel_of_a_joint_comes_from_a_joint_as_far_on():
    x = torch.arange(5 * 3).view(5, 3)  # (C, V): 3 * channel + joint
    shifted = x.flatten()[shifted_joints(5, 3)].view(5, 3)
    expected = [[3 * c + (v + c) % 3 for v in range(3)] for c in range(5)]
    assert shifted.tolist() == expected
    back = shifted.flatten()[shifted_joints(5, 3, back=True)].view(5, 3)
    assert torch.equal(back, x)


def test_the_graph_unit_is_the_formula():
    unit = ShiftGraphUnit(4, 8, num_joints=3).double().eval()
    with torch.no_grad():
        for tensor in (unit.mask, unit.conv.bias, unit.norm.weight, unit.norm.running_mean):
            tensor.normal_()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    out = torch.zeros(2, 8, 3, 5, dtype=torch.float64)
    mixed = torch.zeros_like(out)
    for v in range(3):
        taken = torch.stack([x[:, c, (v + c) % 3] for c in range(4)], dim=1)  # (N, C, T)
        taken = taken * (1 + torch.tanh(unit.mask[:, v]))
        mixed[:, :, v] = torch.einsum("oc,nct->not", unit.conv.weight[..., 0, 0], taken)
        mixed[:, :, v] += unit.conv.bias[:, None]
    for c in range(8):
        for v in range(3):
            k = c * 3 + v
            y = mixed[:, c, (v - c) % 3] - unit.norm.running_mean[k]
            y = y / (unit.norm.running_var[k] + unit.norm.eps).sqrt()
            out[:, c, v] = y * unit.norm.weight[k] + unit.norm.bias[k]
    expected = torch.relu(out + unit.skip(x))
    torch.testing.assert_close(unit(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
def test_shifts_in_time_interpolate_and_end_in_zeros(stride):
    layer = TemporalShift(5, stride)
    shifts = [0.0, 1.0, -2.0, 0.25, -0.75]
    with torch.no_grad():
        layer.shift.copy_(torch.tensor(shifts))
    x = torch.randn(2, 5, 3, 7)

    def frame(c, t):
        return x[:, c, :, t] if 0 <= t < 7 else torch.zeros(2, 3)

    out = layer(x)
    assert out.shape == (2, 5, 3, 4 if stride == 2 else 7)
    for c, shift in enumerate(shifts):
        low = int(torch.tensor(shift).floor())
        for k in range(out.shape[-1]):
            t = k * stride + low
            expected = (1 - (shift - low)) * frame(c, t) + (shift - low) * frame(c, t + 1)
            torch.testing.assert_close(out[:, c, :, k], expected)


def test_how_far_to_look_is_learnt():
    layer = TemporalShift(2).double()
    with torch.no_grad():
        layer.shift.copy_(torch.tensor([0.3, -1.6]))
    x = torch.randn(1, 2, 2, 6, dtype=torch.float64, requires_grad=True)

    def value(shift):
        return torch.func.functional_call(layer, {"shift": shift}, (x,))

    shift = layer.shift.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (shift,))


@pytest.mark.parametrize("far", [40.0, -40.0, 1e6])
def test_beyond_the_clip_there_is_nothing(far):
    layer = TemporalShift(2)
    with torch.no_grad():
        layer.shift.fill_(far)
    assert not layer(torch.randn(1, 2, 3, 6)).any()


def test_shifts_start_within_a_frame_and_masks_at_one():
    backbone = create_backbone("shiftgcn", skeleton="ntu25", num_persons=2, num_frames=8)
    parameters = dict(backbone.named_parameters())
    shifts = torch.cat([p for name, p in parameters.items() if name.endswith(".shift")])
    assert 0.9 < shifts.abs().max() <= 1
    assert abs(shifts.mean()) < 0.1
    assert not any(p.any() for name, p in parameters.items() if name.endswith(".mask"))


def test_it_has_the_published_size():
    """0.69 million for NTU 60; block by block: 1x1 convolutions, norms, masks and shifts."""
    backbone = create_backbone("shiftgcn", skeleton="ntu25", num_persons=2, num_frames=64)
    widths = [3, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256]
    expected = 2 * 3 * 25 * 2  # the input norm
    for number, (i, o) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        projection = i * o + o + 2 * o
        graph = i * 25 + i * o + o + 2 * 25 * o + (projection if i != o else 0)
        temporal = 2 * o + o + o * o + o + o + 2 * o
        residual = projection if number in (5, 8) else 0
        expected += graph + temporal + residual
    count = sum(p.numel() for p in backbone.parameters())
    assert count == expected
    assert round((count + 257 * 60) / 1e6, 2) == 0.69
