"""The splits of a run: which clips train, which judge, and which of those were trained on too."""

import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from frcore.config import DataConfig, RunConfig, Split
from frcore.data.augment import ClipPipeline, DeviceClips
from frcore.data.benchmarks import BUILT_IN
from frcore.data.store import Store
from frcore.errors import UserError
from frcore.residence import free_memory, is_resident, tell_residence

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Pipelines of a run's splits."""

    train: ClipPipeline
    judges: dict[str, ClipPipeline]  # "val" and "test", those that the protocol has
    unseen: dict[str, Tensor]  # (N,) bool by judging split; only where clips copy training clips

    @property
    def all(self) -> dict[str, ClipPipeline]:
        """Every split by name."""
        return {"train": self.train, **self.judges}

    def identities(self) -> dict[str, Any]:
        """Sample ids and labels of every split's clips, as `history.npz` has them."""
        arrays: dict[str, Any] = {}
        for split, pipeline in self.all.items():
            arrays[f"{split}_sample_ids"] = pipeline.clips.sample_ids
            arrays[f"{split}_labels"] = pipeline.clips.labels.cpu().numpy()
        return arrays


def load_splits(store: Store, config: RunConfig, device: torch.device) -> Splits:
    """All splits of a run.

    Raises:
        UserError: no training clips, or none in the split that `train.select` judges by.
    """
    free = free_memory(device)
    found = {
        split: load_split(
            store, split, config.data, device, training=split == "train", seed=config.seed
        )
        for split in ("train", "val", "test")
    }
    protocol = store.protocol(config.data.protocol)
    if found["train"] is None:
        raise UserError(_why_none(store, config, protocol))
    judge = {"val_best": "val", "test_best": "test"}.get(config.train.select)
    if judge is not None and found[judge] is None:
        raise UserError(
            f"train.select '{config.train.select}' needs a split '{judge}', and protocol "
            f"'{protocol}' of {store.benchmark.name} has none. Set data.val_subjects to hold "
            "training subjects out, or train.select to 'last'."
        )
    persons, most = config.data.persons, store.benchmark.num_persons
    if persons is not None and persons < most:
        # A recipe knows its own benchmark; on someone's own data it may not be what they mean.
        level = logging.INFO if store.benchmark.name in BUILT_IN else logging.WARNING
        text = "data.persons=%d: of the %d persons of a clip only the first count."
        log.log(level, text, persons, most)
    _tell_dropped(store, config)
    there = {split: pipeline for split, pipeline in found.items() if pipeline is not None}
    tell_residence(there, device, free)
    judges = {split: there[split] for split in ("val", "test") if split in there}
    return Splits(found["train"], judges, _unseen(store, config, judges))


def _why_none(store: Store, config: RunConfig, protocol: str) -> str:
    """Why a run has no training clips, and what to do."""
    if copies := len(_with_copies(store, config)):
        return (
            f"All {copies:,} training clips of {store} in protocol '{protocol}' have a copy in val "
            "or test and were left out (data.duplicates='drop'). 'keep' trains on them."
        )
    others = [p for p in store.benchmark.protocols if len(store.split("train", protocol=p))]
    hint = f" Protocols that have some: {', '.join(others)}." if others else ""
    return f"{store} has no training clips in protocol '{protocol}'.{hint}"


def _with_copies(store: Store, config: RunConfig) -> pd.DataFrame:
    """Rows of the training clips as if copies were kept."""
    return split_rows(store, "train", config.data.model_copy(update={"duplicates": "keep"}))


def _tell_dropped(store: Store, config: RunConfig) -> None:
    if config.data.duplicates == "keep":
        return
    every = _with_copies(store, config)
    dropped = len(every) - len(split_rows(store, "train", config.data))
    if dropped:
        log.warning(
            "%d of %d training clips are left out: their content is also in val or test "
            "(data.duplicates='drop').",
            dropped,
            len(every),
        )


def _unseen(store: Store, config: RunConfig, judges: dict[str, ClipPipeline]) -> dict[str, Tensor]:
    unseen = {}
    where = {"protocol": config.data.protocol, "val_subjects": config.data.val_subjects}
    for split, pipeline in judges.items():
        copies = set(store.samples.loc[store.copies(split, **where), "sample_id"])
        if not copies:
            continue
        log.warning(
            "%d of %d %s clips are copies of training clips (data.duplicates='%s'); accuracy is "
            "reported on all and on unseen clips.",
            len(copies),
            len(pipeline.clips),
            split,
            config.data.duplicates,
        )
        unseen[split] = torch.tensor([s not in copies for s in pipeline.clips.sample_ids])
    return unseen


def split_rows(store: Store, split: Split, data: DataConfig) -> pd.DataFrame:
    """The rows of `store.samples` that a run's data configuration puts in a split."""
    return store.split(
        split,
        protocol=data.protocol,
        val_subjects=data.val_subjects,
        duplicates=data.duplicates,
    )


def load_split(
    store: Store,
    split: Split,
    data: DataConfig,
    device: torch.device,
    *,
    training: bool = False,
    seed: int = 0,
) -> ClipPipeline | None:
    """The pipeline of a split as a run's data configuration has it; None if the split is empty.

    The clips lie on `device` if they take at most half of its free memory, else they are streamed
    from disk; `data.residence` decides otherwise.

    Args:
        store: where the clips are.
        split: any of them can be seen in either way.
        data: protocol, held-out subjects, duplicates, stream and transform.
        device: where batches should be made.
        training: augmented by `seed`, or the fixed transform of evaluation.
        seed: of the run.
    """
    rows = split_rows(store, split, data)
    if len(rows) == 0:
        return None
    record = store.benchmark
    transform = data.transform.with_frames(record.num_frames)
    if record.centered:
        transform = transform.model_copy(update={"center": False})
    pipeline = ClipPipeline(
        DeviceClips.from_store(store, rows, device),
        record.skeleton,
        transform,
        stream=data.stream,
        num_persons=data.persons or record.num_persons,
        absent_person=record.absent_person,
        training=training,
        seed=seed,
        resident=False,
    )
    if is_resident(pipeline.size, device, data.residence):
        pipeline.load()
    return pipeline
