"""From a checkpoint and a store to `Predictions`, kept beside the checkpoint by content."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frcore import __version__
from frcore.checkpoint import (
    PREVIOUS,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    match_tensors,
)
from frcore.config import RunConfig, Split, load_recipe
from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import open_store
from frcore.data.store import Store
from frcore.device import choose_device, choose_precision, torch_settings
from frcore.errors import NoSuchSplit, UserError, unknown_name
from frcore.evaluation import BACKBONE_SPACE, forward_split, unusable_clips
from frcore.predictions import Predictions
from frcore.recognizer import FORMAT, Recognizer, build_recognizer
from frcore.run import Run
from frcore.splits import load_split, split_rows

log = logging.getLogger(__name__)


def load_recognizer(
    checkpoint: Checkpoint | str | Path, *, head: bool = False
) -> tuple[Recognizer, RunConfig, Benchmark]:
    """The trained recogniser of a checkpoint, in evaluation mode on the CPU.

    Args:
        checkpoint: loaded, or the path of one.
        head: with its FR Head; without, the model holds no parameter of it.

    Raises:
        CheckpointError: damaged, or its weights are not those of the model it names.
        UserError: `head` is asked of a model trained without one.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = _load_checkpoint(checkpoint)
    config, record = _described(checkpoint)
    if head and config.head is None:
        raise UserError(
            f"{checkpoint.path} was trained without FR Head: its only space is '{BACKBONE_SPACE}'."
        )
    try:
        with torch.random.fork_rng(devices=[]):  # fresh weights, soon replaced, are made on the CPU
            model = build_recognizer(config, record, head=head)
    except (TypeError, ValueError, RuntimeError) as error:  # overrides of any kind
        raise CheckpointError(
            f"{checkpoint.path} names a model that cannot be built: {error}"
        ) from error
    weights = checkpoint.part("model")
    if not head:
        weights = {k: v for k, v in weights.items() if not k.startswith("head.")}
    model.load_state_dict(match_tensors(weights, model.state_dict(), source=checkpoint.path))
    return model.eval(), config, record


def _load_checkpoint(path: str | Path) -> Checkpoint:
    checkpoint = load_checkpoint(path)
    if checkpoint.metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of a run that this frcore can read: its format is "
            f"{checkpoint.metadata.get('format')!r}, expected {FORMAT}."
        )
    _described(checkpoint)
    return checkpoint


def _described(checkpoint: Checkpoint) -> tuple[RunConfig, Benchmark]:
    """The configuration and the benchmark in a checkpoint's metadata, which may be a stranger's."""
    meta = checkpoint.metadata
    kinds = {"config": dict, "benchmark": dict, "fingerprint": str, "model": str}
    kinds |= {"imported": dict} if "imported" in meta else {"epoch": int, "select": str}
    try:
        for name, kind in kinds.items():
            if not isinstance(meta.get(name), kind):
                raise TypeError(f"{name} is missing, or no {kind.__name__}")
        return load_recipe(meta["config"]), Benchmark.from_dict(meta["benchmark"])
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise CheckpointError(
            f"{checkpoint.path} does not say which model of which clips it holds: {error}."
        ) from error


def predict(
    run_or_checkpoint: Run | str | Path,
    *,
    split: Split = "test",
    data: Store | str | Path | None = None,
    spaces: Sequence[str] = (BACKBONE_SPACE,),
    device: str = "auto",
    batch_size: int = 64,
) -> Predictions:
    """Runs a trained recogniser over a split.

    Args:
        run_or_checkpoint: a run, its directory, or a checkpoint file.
        split: "train", "val" or "test"; none of them is augmented.
        data: another store than the one it was trained on (same skeleton and classes).
        spaces: features to keep: "backbone" (the classifier's embedding) or a head's branch such as
            "fin.spatial"; a model trained with FR Head has its prototypes there.
        device: "auto", "cpu", "cuda", "cuda:1".
        batch_size: clips at a time; does not change the result beyond rounding.

    Returns:
        Predictions with sample ids, labels, logits (N, K), features (N, D) and prototypes (K, D) by
        space. Kept in `predictions/` beside the checkpoint; made again only if checkpoint, data,
        spaces or precision change. Where the run's data are not, those made elsewhere are taken.

    Raises:
        UserError: no such run, split or space; a store other than the checkpoint's.
    """
    if split not in ("train", "val", "test"):
        raise unknown_name("split", split, ("train", "val", "test"))
    spaces = (spaces,) if isinstance(spaces, str) else tuple(spaces)
    checkpoint = _find_checkpoint(run_or_checkpoint)
    store, where = None if data is None else _asked_store(checkpoint, data), choose_device(device)
    fingerprint = checkpoint.metadata["fingerprint"] if store is None else store.fingerprint
    cache = _cache_path(checkpoint, fingerprint, split, spaces, where)
    kept = _load_kept(cache, checkpoint, fingerprint, split)
    if kept is not None:
        return kept
    if store is None:
        try:
            store = _own_store(checkpoint)
        except UserError:
            kept = _made_elsewhere(cache.parent, checkpoint, split, spaces)
            if kept is None:
                raise
            return kept
    made = _predict(checkpoint, store, split, spaces, where, batch_size)
    copies = _copies(checkpoint, store, made.sample_ids)
    if copies is None:  # not kept either: where the training clips are, they can be told
        return made
    made = replace(made, copies=copies)
    try:
        made.save(cache)
    except UserError as error:
        log.warning("Predictions are not kept: %s", error)
    return made


def _find_checkpoint(source: Run | str | Path) -> Checkpoint:
    if not isinstance(source, Run):
        if not Path(source).exists():
            raise UserError(f"No run directory or checkpoint at {source}.")
        if not Path(source).is_dir():
            return _load_checkpoint(source)
        source = Run.open(source)
    path, previous = source.checkpoint(), source.path / PREVIOUS
    try:
        return _load_checkpoint(path)
    except CheckpointError as error:
        if path == previous or not previous.is_file():
            raise
        raise CheckpointError(
            f"{error} {previous} holds an earlier epoch: give that file to predict with it."
        ) from error


def _own_store(checkpoint: Checkpoint) -> Store:
    """The store that it was trained on."""
    meta = checkpoint.metadata
    store = open_store(meta["benchmark"]["name"])
    if store.fingerprint != meta["fingerprint"]:
        raise UserError(
            f"{checkpoint.path} was trained on other clips than {store.path} holds now "
            f"(fingerprint {meta['fingerprint'][:12]}, now {store.fingerprint[:12]}). Restore "
            f"that store, or pass data='{store.benchmark.name}' to predict on this one all "
            "the same."
        )
    return store


def _asked_store(checkpoint: Checkpoint, data: Store | str | Path) -> Store:
    """Another store, of the same classes and body."""
    store = data if isinstance(data, Store) else open_store(data)
    _, record = _described(checkpoint)
    for what in ("class_names", "skeleton", "channels"):
        ours, theirs = getattr(record, what), getattr(store.benchmark, what)
        if ours != theirs:
            raise UserError(
                f"{store} has other {what} than {checkpoint.path}: {theirs}, not {ours}."
            )
    return store


def _cache_path(
    checkpoint: Checkpoint,
    fingerprint: str,
    split: str,
    spaces: tuple[str, ...],
    device: torch.device,
) -> Path:
    precision = choose_precision(_described(checkpoint)[0].train.precision, device)
    where = f"{device.type}/{precision}"
    content = (checkpoint.sha256, fingerprint, split, spaces, where, __version__)
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return checkpoint.path.parent / "predictions" / f"{split}-{digest}.npz"


def _load_kept(
    cache: Path, checkpoint: Checkpoint, fingerprint: str, split: str
) -> Predictions | None:
    """What was kept, if it is there, whole, and what its name says."""
    if not cache.is_file():
        return None
    try:
        kept = Predictions.load(cache)
    except UserError as error:
        log.warning("%s cannot be used and is made again: %s", cache, error)
        return None
    if not _says(kept, checkpoint, fingerprint, split):
        log.warning("%s belongs to another checkpoint or store and is made again.", cache)
        return None
    return kept


def _says(kept: Predictions, checkpoint: Checkpoint, fingerprint: str, split: str) -> bool:
    """Whether predictions are those of a checkpoint on a split of a store."""
    expected = {"checkpoint": checkpoint.sha256, "fingerprint": fingerprint, "split": split}
    return all(kept.metadata.get(name) == value for name, value in expected.items())


def _made_elsewhere(
    folder: Path, checkpoint: Checkpoint, split: str, spaces: tuple[str, ...]
) -> Predictions | None:
    """What the checkpoint said of its own data on another device, by another version or as one of
    several spaces: a run is analysed where its data are not.
    """
    for path in sorted(folder.glob(f"{split}-*.npz")):
        try:
            kept = Predictions.load(path)
        except UserError as error:
            log.warning("%s cannot be used: %s", path, error)
            continue
        own = _says(kept, checkpoint, checkpoint.metadata["fingerprint"], split)
        if own and set(spaces) <= kept.features.keys():
            log.info("The data of %s are not here; %s is used.", checkpoint.path, path)
            return kept
    return None


def _predict(
    checkpoint: Checkpoint,
    store: Store,
    split: Split,
    spaces: tuple[str, ...],
    device: torch.device,
    batch_size: int,
) -> Predictions:
    head_spaces = [s for s in spaces if s != BACKBONE_SPACE]
    model, config, record = load_recognizer(checkpoint, head=bool(head_spaces))
    data = config.data.model_copy(update={"persons": config.data.persons or record.num_persons})
    if store.fingerprint != checkpoint.metadata["fingerprint"]:  # its splits are its own
        data = data.model_copy(update={"val_subjects": (), "duplicates": "keep"})
    pipeline = load_split(store, split, data, device)
    if pipeline is None:
        raise NoSuchSplit(
            f"{store} has no clips in split '{split}' (protocol "
            f"'{store.protocol(data.protocol)}', val_subjects {list(data.val_subjects)})."
        )
    dtype = choose_precision(config.train.precision, device)
    with torch_settings(device, config.train.threads, deterministic=False):
        logits, features = forward_split(
            model.to(device), pipeline, batch_size=batch_size, dtype=dtype, spaces=spaces
        )
    finite = logits.isfinite().all(1)
    if not finite.all():
        raise UserError(f"{checkpoint.path}: {unusable_clips(pipeline, finite)}")
    return Predictions(
        tuple(pipeline.clips.sample_ids),
        pipeline.clips.labels.cpu().numpy(),
        class_names=record.class_names,
        logits=logits.numpy(),
        features={space: f.numpy() for space, f in features.items()},
        prototypes={space: model.head.prototypes(space).cpu().numpy() for space in head_spaces},
        metadata=_metadata(checkpoint, store, config, split),
    )


def _copies(checkpoint: Checkpoint, store: Store, sample_ids: tuple[str, ...]) -> np.ndarray | None:
    """(N,) bool: clips of a store whose content is among the training clips of a checkpoint.

    None, with a warning, where the store that it was trained on is not here.
    """
    meta = checkpoint.metadata
    own: Store | None = store
    if store.fingerprint != meta["fingerprint"]:
        with contextlib.suppress(UserError):
            own = open_store(meta["benchmark"]["name"])
    if own.fingerprint != meta["fingerprint"]:
        log.warning(
            "The store that %s was trained on is not here: which clips of %s are copies of its "
            "training clips stays unknown, and all count as unseen.",
            checkpoint.path,
            store.path,
        )
        return None
    data = _described(checkpoint)[0].data.model_copy(update={"duplicates": "keep"})
    training = split_rows(own, "train", data)
    rows = store.samples.set_index("sample_id").loc[list(sample_ids)]
    if own is store:  # a training clip is no copy of itself
        training = training[~training["sample_id"].isin(sample_ids)]
    return rows["content_hash"].isin(training["content_hash"]).to_numpy(dtype=bool)


def _metadata(
    checkpoint: Checkpoint, store: Store, config: RunConfig, split: str
) -> dict[str, Any]:
    meta = checkpoint.metadata
    common = {
        "benchmark": store.benchmark.name,
        "split": split,
        "protocol": store.protocol(config.data.protocol),
        "stream": config.data.stream,
        "model": meta["model"],
        "checkpoint": checkpoint.sha256,
        "fingerprint": store.fingerprint,
        "preset": store.preset,
    }
    if "imported" in meta:  # how it was trained is not known
        return common | {"source": meta["imported"].get("source"), "run": checkpoint.path.stem}
    return common | {
        "epoch": meta["epoch"],
        "select": meta["select"],
        "duplicates": config.data.duplicates,
        "config": config.model_copy(update={"seed": 0}).hash,  # the same for seeds of one model
        "run": checkpoint.path.parent.name,
        "seed": config.seed,
    }
