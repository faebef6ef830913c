"""Speed that needs no clock: what a training step asks of a device, beside the published structure.

The published step stands in benchmarks/, written from descriptions; both must compute the same.
"""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def steps():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import training_steps

        yield training_steps
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def make(steps, tmp_path_factory):
    """Both steps at NW-UCLA's sizes, six clips of 20 frames."""
    sizes = steps.SIZES["nw_ucla"]._replace(frames=20, batch=6)

    def pair(*, head: bool, **changes):
        folder = tmp_path_factory.mktemp("steps")
        return steps.pair(sizes._replace(**changes), CPU, folder, head=head)

    return pair


@pytest.fixture(scope="module")
def costs(steps, make):
    """Of a step by (path, with head)."""
    found = {}
    for head in (True, False):
        ours, published = make(head=head)
        ours.step(ours.clips)  # the first step makes what later ones use again
        found["ours", head] = steps.cost_of(lambda ours=ours: ours.step(ours.clips))
        found["published", head] = steps.cost_of(
            lambda ours=ours, published=published: published.step(ours.clips, ours.labels)
        )
    return found


TWO_PERSONS = {"persons": 2, "skeleton": "ntu25", "classes": 7}


@pytest.mark.parametrize("changes", [{}, TWO_PERSONS])
def test_the_clips_of_a_step_give_the_head_something_to_calibrate(make, changes):
    """Else the two would be equal whatever phi and psi are."""
    ours, published = make(head=True, **changes)
    with torch.no_grad():
        predicted, labels = published.model(ours.clips)[0].argmax(1), ours.labels
    right = labels == predicted
    with_prototype = predicted[right]  # classes with a true positive
    assert right.any() and not right.all()
    assert torch.isin(labels[~right], with_prototype).any()  # false negatives of such a class
    assert torch.isin(predicted[~right], with_prototype).any()  # false positives


@pytest.mark.parametrize("changes", [{}, TWO_PERSONS])
def test_our_step_computes_what_the_published_one_does(steps, make, changes):
    steps.check_equal(*make(head=True, **changes))  # after one: a second would multiply rounding


def test_a_prototype_that_moved_otherwise_is_found(steps, make):
    ours, published = make(head=True)
    ours.model.head.prototypes("mid.temporal")[3, 7] += 0.05
    with pytest.raises(AssertionError, match=r"mid_temporal\.prototypes"):
        steps.check_equal(ours, published)


@pytest.mark.parametrize(
    ("option", "value"),
    [("use_fn", False), ("use_fp", False), ("confidence_weight", False), ("anchors", "all"),
     ("momentum", 0.5), ("temperature", 0.2)],
)  # fmt: skip
def test_a_head_that_calibrates_otherwise_is_found(steps, make, option, value):
    ours, published = make(head=True)
    for branch in ours.model.head.contrast.values():
        branch.options[option] = value
    with pytest.raises(AssertionError):
        steps.check_equal(ours, published)


def test_a_step_takes_a_bounded_number_of_operators_and_never_waits(costs):
    assert costs["ours", True]["operators"] <= 1_650  # each a launch, or two, on a GPU
    assert costs["published", True]["operators"] >= 3 * costs["ours", True]["operators"]
    assert costs["ours", True]["waits"] == 0
    assert costs["published", True]["waits"] >= 2  # so they would be seen


def test_the_head_adds_few_operators_for_all_its_branches(costs):
    added = {p: costs[p, True]["operators"] - costs[p, False]["operators"] for p, _ in costs}
    assert added["ours"] <= 400 and added["published"] >= 3 * added["ours"]


def test_less_is_kept_for_the_backward_pass(costs):
    assert costs["ours", True]["saved_mb"] <= 0.6 * costs["published", True]["saved_mb"]
