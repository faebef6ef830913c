"""Evaluation: what a model says of a split, against a loop over single clips."""

import math

import numpy as np
import pytest
import torch

from frcore.config import load_recipe
from frcore.errors import UserError
from frcore.evaluation import Stopped, forward_split, judge_splits
from frcore.recognizer import build_recognizer
from frcore.splits import load_splits

FP32 = torch.float32
SPACES = ("backbone", "fin.spatial", "low.temporal")


@pytest.fixture(scope="module")
def model(tiny_store, tiny_config, splits):
    torch.manual_seed(0)
    model = build_recognizer(load_recipe(tiny_config), tiny_store.benchmark)
    for module in model.modules():
        if hasattr(module, "momentum"):
            module.momentum = 1.0
    with torch.no_grad():  # statistics of these clips, as after training
        model(splits.train(torch.arange(16)))
    return model


@pytest.fixture(scope="module")
def splits(tiny_store, tiny_config):
    return load_splits(tiny_store, load_recipe(tiny_config), torch.device("cpu"))


def test_logits_and_features_are_those_of_single_clips(model, splits):
    test = splits.judges["test"]
    logits, features = forward_split(model, test, batch_size=7, dtype=FP32, spaces=SPACES)
    assert model.training and logits.dtype is FP32 and tuple(features) == SPACES
    assert not logits.requires_grad
    model.eval()
    with torch.no_grad():
        for i in range(len(test.clips)):
            out = model(test(torch.tensor([i])))
            torch.testing.assert_close(logits[i], out.logits[0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(features["backbone"][i], out.embedding[0])
            for space in SPACES[1:]:
                own = model.head.project(out.stages, 1, space)[0]
                torch.testing.assert_close(features[space][i], own, rtol=1e-4, atol=1e-4)
    model.train()


def test_an_unknown_space_is_an_error_with_the_choices(model, splits):
    with pytest.raises(UserError, match="Did you mean 'fin.spatial'.*backbone, low.spatial"):
        forward_split(model, splits.judges["val"], batch_size=8, dtype=FP32, spaces=("fin.spatia",))


def test_accuracies_are_counted_clip_by_clip(model, splits):
    unseen = {"test": torch.arange(20) % 3 > 0, "val": torch.arange(12) % 2 > 0}
    scores, clips = judge_splits(model, splits.judges, unseen, batch_size=8, dtype=FP32)
    for split, pipeline in splits.judges.items():
        labels = pipeline.clips.labels
        logits, _ = forward_split(model, pipeline, batch_size=8, dtype=FP32)
        hits = [int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True)]
        assert scores[f"{split}_acc"] == pytest.approx(sum(hits) / len(hits))
        assert clips[f"{split}_predicted"].tolist() == logits.argmax(1).tolist()
        for row, y, p in zip(logits, labels, clips[f"{split}_p_true"], strict=True):
            assert p == pytest.approx(math.exp(row[y]) / sum(math.exp(x) for x in row), rel=1e-5)
        kept = [h for h, u in zip(hits, unseen[split].tolist(), strict=True) if u]
        assert scores[f"{split}_acc_unseen"] == pytest.approx(sum(kept) / len(kept))


def test_a_skipped_evaluation_has_the_same_names_and_types_and_no_values(model, splits):
    options = {"batch_size": 8, "dtype": FP32}
    scores, clips = judge_splits(model, splits.judges, {}, **options)
    no_scores, no_clips = judge_splits(None, splits.judges, {}, skip=True, **options)
    assert no_scores.keys() == scores.keys() == {"val_acc", "test_acc"}
    assert all(math.isnan(v) for v in no_scores.values())
    for name, array in clips.items():
        assert (no_clips[name].shape, no_clips[name].dtype) == (array.shape, array.dtype)
        assert np.isnan(no_clips[name]).all() or (no_clips[name] == -1).all()


def test_an_evaluation_stops_between_batches_and_leaves_the_mode(model, splits):
    batches = []

    def after_two():
        batches.append(1)
        return len(batches) > 2

    with pytest.raises(Stopped):
        forward_split(model, splits.judges["test"], batch_size=4, dtype=FP32, stopped=after_two)
    assert len(batches) == 3 and model.training
