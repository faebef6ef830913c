"""One contrastive branch against loops over a handful of 2-D points, and its prototypes."""

import copy
import itertools
import math
import random

import pytest
import torch

from frcore.contrast import batch_outcomes, contrast
from frcore.errors import UserError
from frcore.fr_head import PrototypeContrast

CLASSES = 4
PROTOTYPES = [(1.0, 0.2), (-0.3, 0.9), (-1.0, -0.4), (0.5, -1.2)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# ---- the reference: Eq. 3 to 8, one clip and one class at a time, no tensors --------------------


def cosine(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v))


def mean(points):
    return tuple(sum(axis) / len(points) for axis in zip(*points, strict=True))


def softmax(row):
    powers = [math.exp(z) for z in row]
    return [power / sum(powers) for power in powers]


def loop_loss(points, labels, logits, prototypes, *, training=True, threshold=0.0, **options):
    """Loss and prototypes after the step; logits enter as numbers only."""
    p = [softmax(row) for row in logits]
    predicted = [row.index(max(row)) for row in logits]
    tp, fn, fp = ([[] for _ in prototypes] for _ in range(3))
    for i, (label, guess) in enumerate(zip(labels, predicted, strict=True)):
        if label != guess:
            fn[label].append(i)
            fp[guess].append(i)
        elif p[i][label] > threshold:
            tp[label].append(i)

    updated = []
    for k, old in enumerate(prototypes):
        new = mean([points[i] for i in tp[k]]) if tp[k] and training else old
        updated.append(tuple(0.9 * o + 0.1 * n for o, n in zip(old, new, strict=True)))

    total = 0.0
    for i, label in enumerate(labels):
        anchor = options["anchors"] == "all" or i in tp[label]
        weight = 1 - p[i][label] if options["confidence_weight"] else 1
        phi = psi = 0.0
        if anchor and fn[label] and options["use_fn"]:
            phi = 1 - cosine(points[i], mean([points[j] for j in fn[label]]))
        if anchor and fp[label] and options["use_fp"]:
            psi = 1 + cosine(points[i], mean([points[j] for j in fp[label]]))
        scores = [cosine(points[i], prototype) / 0.125 for prototype in updated]
        for penalty in (weight * phi, weight * psi):
            own = scores[label] - penalty
            others = [s for k, s in enumerate(scores) if k != label]
            total += math.log(sum(map(math.exp, [own, *others]))) - own
    return total / len(labels), updated


def finite_differences(points, *args, step=1e-6, **options):
    """d loss / d points, from the loops."""

    def loss_with(i, axis, by):
        moved = [list(p) for p in points]
        moved[i][axis] += by
        return loop_loss(moved, *args, **options)[0]

    return [
        [(loss_with(i, axis, step) - loss_with(i, axis, -step)) / (2 * step) for axis in (0, 1)]
        for i in range(len(points))
    ]


def random_batch(seed, rightness):
    """Six points, labels and logits; `rightness` lifts the logit of the label."""
    rng = random.Random(seed)
    points = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(6)]
    labels = [rng.randrange(CLASSES) for _ in points]
    logits = [[rng.gauss(0, 1) for _ in range(CLASSES)] for _ in points]
    for row, label in zip(logits, labels, strict=True):
        row[label] += rightness
    return points, labels, logits


# All wrong, mixed with empty sets of every kind, all right.
BATCHES = [random_batch(0, -9), random_batch(1, 1), random_batch(2, 1), random_batch(3, 9)]


def make_branch(**options):
    """A float64 branch on 2-D points whose projection changes nothing."""
    branch = PrototypeContrast(2, CLASSES, hidden=2, **options).double()
    with torch.no_grad():
        branch.project.weight.copy_(torch.eye(2))
        branch.project.bias.zero_()
        branch.prototypes.copy_(torch.tensor(PROTOTYPES, dtype=torch.float64))
    return branch


def tensors(points, labels, logits):
    features = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    return features, torch.tensor(labels), torch.tensor(logits, dtype=torch.float64)


def close(actual, expected):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach(), expected, rtol=1e-6, atol=1e-7)


def test_batches_of_the_comparison_hold_every_kind_of_set():
    kinds = set()
    for points, labels, logits in BATCHES:
        _, labels, logits = tensors(points, labels, logits)
        o, sure = batch_outcomes(labels, logits), batch_outcomes(labels, logits, 0.6)
        present = torch.stack([o.tp, o.fn, o.fp]).sum(1) > 0  # (3, K)
        kinds |= {tuple(column) for column in present.t().tolist()}
        kinds |= {"unsure"} if (o.tp.sum() > sure.tp.sum()) else set()
    assert kinds >= {"unsure", (True, True, True), (True, False, False), (False, True, False)}
    assert kinds >= {(False, False, True), (False, True, True), (False, False, False)}


@pytest.mark.parametrize("anchors", ["true_positive", "all"])
@pytest.mark.parametrize(
    ("use_fn", "use_fp", "confidence_weight"), [*itertools.product([True, False], repeat=3)]
)
@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_loss_matches_loop_reference(anchors, use_fn, use_fp, confidence_weight, threshold):
    options = {"anchors": anchors, "use_fn": use_fn, "use_fp": use_fp}
    options["confidence_weight"] = confidence_weight
    for points, labels, logits in BATCHES:
        branch = make_branch(**options, tp_threshold=threshold)
        features, *rest = tensors(points, labels, logits)
        loss = branch(features, *rest)
        loss.backward()
        arguments = (labels, logits, PROTOTYPES)
        expected, prototypes = loop_loss(points, *arguments, threshold=threshold, **options)
        close(loss, expected)
        close(branch.prototypes, prototypes)
        slope = finite_differences(points, *arguments, threshold=threshold, **options)
        close(features.grad, slope)


def test_loss_of_two_clips_by_hand():
    branch = make_branch().eval()
    branch.prototypes[:2] = torch.tensor([[1.0, 0], [0, 1]])
    branch.prototypes[2:] = torch.tensor([-1.0, -1])  # cosine -1 / sqrt 2 to both clips
    far = math.exp(-8 / math.sqrt(2))
    # Clip 0 is a true positive of 0 with p = 3/6, clip 1 a false negative of 0, positive of 1.
    points = [(1.0, 0.0), (0.0, 1.0)]
    logits = [[math.log(3), 0, 0, 0], [0, math.log(3), 0, 0]]
    loss = branch(*tensors(points, [0, 0], logits))
    # phi of clip 0: 1 - cos((1, 0), (0, 1)) = 1, weighed by 1 - 1/2; class 0 has no FP.
    with_fn = math.log(math.exp(7.5) + 1 + 2 * far) - 7.5
    without = math.log(math.exp(8) + 1 + 2 * far) - 8
    wrong = math.log(1 + math.exp(8) + 2 * far)  # clip 1 is no true positive: prototypes only
    close(loss, (with_fn + without + 2 * wrong) / 2)


@pytest.mark.parametrize("anchors", ["true_positive", "all"])
def test_switched_off_terms_leave_both_cross_entropies(anchors):
    for batch in BATCHES:
        branch = make_branch(anchors=anchors, use_fn=False, use_fp=False)
        features, labels, logits = tensors(*batch)
        loss = branch(features, labels, logits)
        unit = torch.nn.functional.normalize(features, dim=1)
        scores = unit @ torch.nn.functional.normalize(branch.prototypes, dim=1).t() / 0.125
        close(loss, 2 * torch.nn.functional.cross_entropy(scores, labels).detach())


def test_temperature_and_momentum_are_used():
    (points, labels, logits), options = BATCHES[3], {"use_fn": False, "use_fp": False}
    branch = make_branch(**options, momentum=0.5)
    branch(*tensors(points, labels, logits))
    own = [p for p, label in zip(points, labels, strict=True) if label == labels[0]]
    old = PROTOTYPES[labels[0]]
    close(branch.prototypes[labels[0]], [(o + m) / 2 for o, m in zip(old, mean(own), strict=True)])
    cold = make_branch(**options, temperature=1e6).eval()(*tensors(points, labels, logits))
    assert cold.item() == pytest.approx(2 * math.log(CLASSES), abs=1e-5)


def test_prototypes_move_in_training_only_and_evaluation_uses_the_stored_ones():
    points, labels, logits = BATCHES[1]
    branch = make_branch().eval()
    loss = branch(*tensors(points, labels, logits))
    close(branch.prototypes, PROTOTYPES)
    options = {
        "anchors": "true_positive",
        "use_fn": True,
        "use_fp": True,
        "confidence_weight": True,
    }
    still, _ = loop_loss(points, labels, logits, PROTOTYPES, training=False, **options)
    moving, _ = loop_loss(points, labels, logits, PROTOTYPES, **options)
    assert abs(still - moving) > 1e-3  # else the next line says nothing
    close(loss, still)
    branch.train()(*tensors(points, labels, logits))
    assert not torch.allclose(branch.prototypes, torch.tensor(PROTOTYPES, dtype=torch.float64))


def test_a_class_without_true_positives_keeps_its_prototype_to_the_bit():
    branch = PrototypeContrast(8, 5, hidden=6)
    before = branch.prototypes.clone()
    logits = torch.tensor([[9.0, 0, 0, 0, 0], [9, 0, 0, 0, 0], [0, 0, 9, 0, 0]])
    branch(torch.randn(3, 8), torch.tensor([0, 1, 3]), logits)  # only class 0 has one
    assert torch.equal(branch.prototypes[1:], before[1:])
    assert not torch.equal(branch.prototypes[0], before[0])


def test_stored_prototypes_hold_no_graph_and_logits_get_no_gradient():
    branch = make_branch()
    for batch in BATCHES:
        features, labels, logits = tensors(*batch)
        logits.requires_grad_()
        branch(
            features, labels, logits
        ).backward()  # a second step through a kept graph would raise
        assert logits.grad is None
        assert features.grad.abs().sum() > 0
        assert not branch.prototypes.requires_grad


def test_calibration_figures_are_cosines_of_centres_to_moved_prototypes():
    features = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])  # (1, 3, 2)
    # Clip 0: TP of 0. Clips 1 and 2: FN of 0; FP of 1 and of 2.
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])
    outcomes = batch_outcomes(torch.tensor([0, 0, 0]), logits)
    stored = torch.tensor([[[0.0, 2.0], [1.0, 0.0], [0.0, -1.0]]])
    _, moved, stats = contrast(features, stored, outcomes, **PrototypeContrast(1, 1).options)
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.2, 1.8]))
    assert stats.counts.tolist() == [[1, 0, 0], [2, 0, 0], [0, 1, 1]]
    centre = cosine((0.5, 1.0), (0.2, 1.8))  # of clips 1 and 2
    torch.testing.assert_close(stats.fn_cosine, torch.tensor([[centre, 0.0, 0.0]]))
    far = -1 / math.sqrt(2)  # (1, 1) to (0, -1)
    torch.testing.assert_close(stats.fp_cosine, torch.tensor([[0.0, 0.0, far]]))


# ---- warm start ----------------------------------------------------------------------------------


def test_warm_start_counts_a_class_from_its_first_true_positive():
    branch = make_branch(warm_start=True)
    branch.prototypes.zero_()
    right = [[9.0, 0, 0, 0], [9.0, 0, 0, 0]]
    # Clip 0: first true positive of class 0. Clip 1: class 1, which has no prototype yet.
    features, labels, logits = tensors([(2, 0), (0, 2)], [0, 1], right)
    loss = branch(features, labels, logits)
    loss.backward()
    assert loss.item() == 0  # class 0 is alone in the denominator; clip 1 does not count
    assert torch.isfinite(features.grad).all()
    assert branch.prototypes.tolist() == [[2, 0], [0, 0], [0, 0], [0, 0]]
    assert branch.seen.tolist() == [True, False, False, False]

    points, logits = [(0, 2), (0, 1)], [[9.0, 0, 0, 0], [0, 9.0, 0, 0]]
    loss = branch(*tensors(points, [0, 1], logits))
    close(branch.prototypes[:2], [(1.8, 0.2), (0, 1)])  # moved; the first of its class
    # Both clips point to (0, 1), where class 1 is; classes 2 and 3 are not in the denominator.
    near = 8 * cosine((0, 1), (1.8, 0.2))
    all_seen = math.log(math.exp(near) + math.exp(8))
    close(loss, (2 * (all_seen - near) + 2 * (all_seen - 8)) / 2)


@pytest.mark.parametrize(("training", "batch"), [(True, 0), (False, 0), (False, 3)])
def test_warm_start_with_nothing_seen_is_zero_and_finite(training, batch):
    branch = make_branch(warm_start=True).train(training)
    features, labels, logits = tensors(*BATCHES[batch])  # 0 is all wrong, 3 all right
    loss = branch(features, labels, logits)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert not branch.seen.any()


def test_warm_start_equals_the_published_loss_once_all_classes_are_seen():
    published, warm = make_branch(), make_branch(warm_start=True)
    warm.seen.fill_(True)
    for batch in BATCHES:
        close(warm(*tensors(*batch)), published(*tensors(*batch)).detach())
        close(warm.prototypes, published.prototypes)


# ---- prototypes are state ------------------------------------------------------------------------


def trained_branch(**options):
    branch = PrototypeContrast(8, 5, hidden=6, **options)
    branch(torch.randn(20, 8), torch.arange(20) % 5, torch.randn(20, 5))
    return branch


@pytest.mark.parametrize("warm_start", [True, False])
def test_prototypes_survive_save_and_load(warm_start, tmp_path):
    branch = trained_branch(warm_start=warm_start)
    torch.save(branch.state_dict(), tmp_path / "branch.pt")
    other = PrototypeContrast(8, 5, hidden=6, warm_start=warm_start)
    other.load_state_dict(torch.load(tmp_path / "branch.pt", weights_only=True), strict=True)
    assert torch.equal(other.prototypes, branch.prototypes)
    assert torch.equal(other.seen, branch.seen)


def test_prototypes_survive_deepcopy_and_the_copy_is_its_own():
    branch = trained_branch()
    before = branch.prototypes.clone()
    twin = copy.deepcopy(branch)
    assert torch.equal(twin.prototypes, before)
    twin(torch.randn(5, 8), torch.arange(5), 9 * torch.eye(5))
    assert torch.equal(branch.prototypes, before)
    assert not torch.equal(twin.prototypes, before)


def test_prototypes_survive_type_moves_and_the_loss_runs_in_each():
    branch = trained_branch()
    before = branch.prototypes.clone()
    inputs = (torch.randn(20, 8), torch.arange(20) % 5, torch.randn(20, 5))
    expected = copy.deepcopy(branch)(*inputs)
    assert torch.equal(branch.double().float().prototypes, before)
    torch.testing.assert_close(copy.deepcopy(branch).double()(*inputs).float(), expected)
    branch.to(torch.bfloat16)
    rounded = copy.deepcopy(branch)(*inputs)
    assert rounded.dtype == torch.float32  # the loss itself never runs in half precision
    assert rounded.item() == pytest.approx(expected.item(), rel=0.05)
    torch.testing.assert_close(branch.float().prototypes, before, rtol=2**-8, atol=0)


@pytest.mark.gpu
def test_prototypes_survive_a_move_to_the_gpu_and_back():
    branch = trained_branch()
    before = branch.prototypes.clone()
    inputs = (torch.randn(20, 8), torch.arange(20) % 5, torch.randn(20, 5))
    expected = copy.deepcopy(branch)(*inputs)
    branch.cuda()
    torch.testing.assert_close(copy.deepcopy(branch)(*(x.cuda() for x in inputs)).cpu(), expected)
    assert torch.equal(branch.cpu().prototypes, before)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"tp_threshold": 1.0}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(UserError, match="temperature must be above 0, momentum and tp_threshold"):
        PrototypeContrast(8, 5, **change)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((20, 7), (20,), (20, 5)), "features"),
        (((20, 8), (19,), (20, 5)), "labels"),
        (((20, 8), (20,), (20, 6)), "logits"),
    ],
)
def test_inputs_of_other_sizes_are_refused(shapes, message):
    features, labels, logits = shapes
    with pytest.raises(UserError, match=message):
        PrototypeContrast(8, 5)(
            torch.randn(features), torch.zeros(labels, dtype=torch.int64), torch.randn(logits)
        )


def test_labels_out_of_range_are_refused():
    for label in (-1, 5):
        with pytest.raises(UserError, match=r"labels must be in 0\.\.4"):
            PrototypeContrast(8, 5)(torch.randn(1, 8), torch.tensor([label]), torch.randn(1, 5))


def test_unknown_anchors_are_refused_with_the_choices():
    with pytest.raises(UserError, match="'true_positive' or 'all', not 'V1'"):
        PrototypeContrast(8, 5, anchors="V1")
