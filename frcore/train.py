"""The training loop: `fit` a recipe into a run directory, resumable at any step, bit for bit."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from frcore.callbacks import Callback, headline, tell
from frcore.checkpoint import (
    BEST,
    LAST,
    load_latest,
    read_metadata,
    rotate_and_save,
    save_checkpoint,
)
from frcore.config import RunConfig, load_recipe
from frcore.data.catalog import get_benchmark, open_store
from frcore.data.random import batch_ends, epoch_order
from frcore.data.store import Store
from frcore.device import autocast, choose_device, choose_precision, torch_settings
from frcore.evaluation import Stopped, judge_splits
from frcore.guard import StepGuard
from frcore.optim import build_optimizer, learning_rate
from frcore.process import StopRequest
from frcore.recognizer import build_recognizer, check_model, checkpoint_metadata
from frcore.records import EpochRecord
from frcore.resume import (
    check_same_data,
    note_other_environment,
    position_of,
    restore_state,
    training_state,
)
from frcore.run import Run
from frcore.run_dir import RunDir, choose_run_dir
from frcore.splits import load_splits

log = logging.getLogger(__name__)


def fit(
    recipe_or_config: str | Path | Mapping[str, Any] | RunConfig,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    live: Callback | None = None,
    **overrides: Any,
) -> Run:
    """Trains a recogniser, or goes on with one that was interrupted.

    Args:
        recipe_or_config: a shipped recipe's name, a YAML file, a mapping or a `RunConfig`.
        out: the run's directory; default `runs/<recipe>`. The same configuration resumes there;
            another one gets a numbered directory beside it.
        callbacks: told of start, epochs and end.
        live: one more of them, such as `frviz.live()`.
        **overrides: configuration values, nested or dotted: `seed=1`, `optim={"lr": 0.05}`,
            `**{"optim.lr": 0.05}`.

    Returns:
        The run. After Ctrl-C (or a notebook's stop button) the partial one, saved and resumable.

    Raises:
        UserError: a mistake in the configuration, the data or the directory, before training.
        NonFiniteError: three steps in a row gave a loss or gradients that are not finite.
        SystemExit: with code 143 after SIGTERM; the run is saved and resumable.
    """
    config = load_recipe(recipe_or_config, overrides)
    device = choose_device(config.train.device)
    check_model(config, get_benchmark(config.benchmark))  # before any data is read
    store = open_store(config.benchmark)
    if config.optim.warmup_epochs >= config.train.epochs:
        log.warning(
            "optim.warmup_epochs=%d is not over when training is (train.epochs=%d).",
            config.optim.warmup_epochs,
            config.train.epochs,
        )
    told = [*callbacks, *([live] if live is not None else [])]
    path, resumed = choose_run_dir(out or Path("runs") / config.name, config.hash)
    if resumed and Run.open(path).state == "finished":
        if (path / LAST).is_file():
            check_same_data(path / LAST, read_metadata(path / LAST), store)
        log.info("%s is finished already; delete it to train again.", path)
        run = Run.open(path)
        for event in ("on_start", "on_end"):  # a live view shows what is there
            tell(told, event, run)
        return run
    settings = torch_settings(device, config.train.threads, config.train.deterministic)
    with RunDir(path) as directory, StopRequest() as stop, settings:
        trainer = Trainer(config, store, directory, device)
        before = Run(path).environment
        directory.write_config(
            config.model_dump(mode="json"),
            config_hash=config.hash,
            device=str(device),
            threads=torch.get_num_threads(),
        )
        note_other_environment(before, Run(path).environment)
        trainer.run(stop, told)
    if stop.signal is not None and stop.signal.name == "SIGTERM":
        raise SystemExit(stop.exit_code)
    return Run.open(path)


class Trainer:
    """One run in progress: data, model, optimiser and position. `run` takes it to its end."""

    def __init__(
        self, config: RunConfig, store: Store, directory: RunDir, device: torch.device
    ) -> None:
        self.config, self.store, self.directory, self.device = config, store, directory, device
        self.dtype = choose_precision(config.train.precision, device)
        self._build_model()
        self.splits = load_splits(store, config, device)
        ids = self.splits.train.clips.sample_ids  # not through self: the clips end with the trainer
        self.guard = StepGuard(
            self.model,
            self.optimizer,
            lambda index: [ids[i] for i in index.tolist()],
            read_every=1 if device.type == "cpu" else 20,
        )
        self.epoch, self.step = 0, 0  # epochs completed; steps done in the current one
        self.seconds = 0.0  # spent on those steps
        self.best: float | None = None  # the accuracy that best.safetensors has
        self.record = self._new_record()
        self._resume()

    def _build_model(self) -> None:
        torch.manual_seed(self.config.seed)
        self.model = build_recognizer(self.config, self.store.benchmark).to(self.device)
        self.optimizer = build_optimizer(self.model, self.config.optim)

    def _new_record(self) -> EpochRecord:
        head = self.config.head
        return EpochRecord(
            len(self.splits.train.clips),
            self.store.benchmark.num_classes,
            repeats=self.config.data.repeats,
            spaces=None if head is None else self.model.head.spaces,
            weight=0.0 if head is None else head.weight,
            device=self.device,
        )

    def _resume(self) -> None:
        """Goes to where the last checkpoint is, and cuts the logs back to it."""
        checkpoint = load_latest(self.directory.path)
        if checkpoint is not None:
            check_same_data(checkpoint.path, checkpoint.metadata, self.store)
            meta = position_of(checkpoint)
            record = self.record if meta["step"] > 0 else None
            restore_state(checkpoint, self.model, self.optimizer, record)
            self.epoch, self.step, self.best = meta["epoch"], meta["step"], meta["best"]
            self.seconds, self.guard.in_a_row = meta["seconds"], meta["skipped_in_a_row"]
            log.info("%s goes on after epoch %d, step %d.", self.config.name, self.epoch, self.step)
        self.directory.truncate(self.epoch)

    @property
    def views_per_epoch(self) -> int:
        """Clips that an epoch shows, counting repeats."""
        return len(self.splits.train.clips) * self.config.data.repeats

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(batch_ends(self.views_per_epoch, self.config.train.batch_size))

    def run(self, stop: StopRequest, callbacks: Sequence[Callback]) -> None:
        """Trains from the current position to the last epoch, or until `stop` is requested."""
        run, epochs = Run.open(self.directory.path), self.config.train.epochs
        bar = tqdm(
            total=epochs * self.steps_per_epoch,
            initial=self.epoch * self.steps_per_epoch + self.step,
            desc=self.config.name,
            unit="step",
            mininterval=0.5,
            smoothing=0,  # the mean rate: evaluations between epochs would throw a recent one off
        )
        tell(callbacks, "on_start", run)
        try:
            with bar:
                while self.epoch < epochs and not stop.requested:
                    self._train_epoch(bar, stop)
                    row = None if stop.requested else self._end_epoch(stop)
                    if row is not None:
                        bar.set_postfix_str(headline(row, epochs))
                        tell(callbacks, "on_epoch", run, row)
            self._finish()
        finally:
            tell(callbacks, "on_end", run)

    def _finish(self) -> None:
        """Marks a run that has all its epochs; else saves where it was stopped."""
        if self.epoch == self.config.train.epochs:
            self.directory.finish(self.epoch)
            return
        if self.step > 0:
            self._save()
        log.warning(
            "Stopped after epoch %d, step %d. Start it again to go on from there.",
            self.epoch,
            self.step,
        )

    def _train_epoch(self, bar: tqdm, stop: StopRequest) -> None:
        """Steps to the end of the epoch or to a stop."""
        config, train = self.config, self.splits.train
        order = epoch_order(
            train.clips.keys, seed=config.seed, epoch=self.epoch, repeats=config.data.repeats
        )
        ends = batch_ends(self.views_per_epoch, config.train.batch_size)
        batches = list(zip(*(o.tensor_split(ends[:-1]) for o in order), strict=True))[self.step :]
        self.model.train()
        begin = time.perf_counter() - self.seconds
        with closing(train.batches(batches, epoch=self.epoch)) as made:
            for (index, repeat), clips in zip(batches, made, strict=True):
                self._train_step(index, repeat, clips)
                self.step += 1
                bar.update()
                if self.step % self.guard.read_every == 0:  # the device has just been waited for
                    now = {"epoch": self.epoch + 1, "train_acc": self.record.accuracy()}
                    now |= self.record.losses()
                    bar.set_postfix_str(headline(now, config.train.epochs), refresh=False)
                if stop.requested:
                    break
        self.guard.read()
        self.seconds = time.perf_counter() - begin

    def _train_step(self, index: Tensor, repeat: Tensor, clips: Tensor) -> None:
        """One update by a batch: clips (n, C, T, V, M), their places and their repeats (n,)."""
        config, train = self.config, self.splits.train
        position = self.epoch + self.step / self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config.optim, config.train.epochs, position)
        torch.manual_seed(_dropout_seed(config.seed, self.epoch, self.step))
        labels = train.clips.labels[index]

        self.guard.before_forward()
        with autocast(self.device, self.dtype):
            out = self.model(clips)
        logits = out.logits.float()
        ce = F.cross_entropy(logits, labels, label_smoothing=config.optim.label_smoothing)
        head, loss = None, ce
        if self.model.head is not None:
            head = self.model.head(out.stages, labels, logits)
            loss = ce + config.head.weight * head.loss
        loss.backward()
        ok = self.guard.step(loss, index, f"epoch {self.epoch + 1}, step {self.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        self.record.add(index, repeat, labels, logits, ce, head, ok)

    def _end_epoch(self, stop: StopRequest) -> dict[str, Any] | None:
        """Evaluates, logs, saves; returns the row of metrics.csv, or None if stopped meanwhile."""
        config, directory, epoch = self.config, self.directory.path, self.epoch + 1
        begin = time.perf_counter()
        try:
            scores, judged = judge_splits(
                self.model,
                self.splits.judges,
                self.splits.unseen,
                batch_size=4 * config.train.batch_size,
                dtype=self.dtype,
                skip=epoch % config.train.eval_every != 0 and epoch != config.train.epochs,
                stopped=lambda: stop.requested,
            )
        except Stopped:  # saved as it is: all steps done, not yet evaluated
            return None
        position = self.epoch + (self.steps_per_epoch - 1) / self.steps_per_epoch
        row = {
            "epoch": epoch,
            "lr": learning_rate(config.optim, config.train.epochs, position),
            **self.record.row(),
            **scores,
            "seconds": self.seconds,
            "eval_seconds": time.perf_counter() - begin,
            "samples_per_s": self.views_per_epoch / self.seconds,
            "skipped_steps": self.record.skipped_steps,
        }
        self._write_logs(row, judged)
        self.epoch, self.step, self.seconds = epoch, 0, 0.0
        self.record = self._new_record()
        value = scores.get("test_acc" if config.train.select == "test_best" else "val_acc")
        if value is not None and value > (-1.0 if self.best is None else self.best):  # not if NaN
            self.best = value
            save_checkpoint(directory / BEST, *self._state(row, best=True))
        self._save(row)
        return row

    def _write_logs(self, row: dict[str, Any], judged: dict[str, Any]) -> None:
        directory, epoch, head = self.directory, row["epoch"], self.model.head
        directory.append_metrics(row)
        names = {"class_names": self.store.benchmark.class_names}
        clips: dict[str, Any] = dict(names)
        for split, pipeline in self.splits.all.items():
            clips[f"{split}_sample_ids"] = pipeline.clips.sample_ids
            clips[f"{split}_labels"] = pipeline.clips.labels.cpu().numpy()
        directory.append_arrays("history", epoch, {**self.record.history(), **judged}, fixed=clips)
        if head is not None:
            names = {"spaces": head.spaces, **names}
            directory.append_arrays("calibration", epoch, self.record.calibration(), fixed=names)

    def _state(
        self, row: dict[str, Any] | None, *, best: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and metadata of a checkpoint at the current position."""
        config, record = self.config, self.record if self.step > 0 else None
        metadata = {
            **checkpoint_metadata(config, self.store.benchmark, self.store.fingerprint),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "skipped_in_a_row": self.guard.in_a_row,
            "metrics": {k: v for k, v in (row or {}).items() if v == v},  # JSON has no NaN
            "select": "last",
        }
        if best:
            metadata["select"] = "test_best" if config.train.select == "test_best" else "val_best"
        return training_state(self.model, self.optimizer, record), metadata

    def _save(self, row: dict[str, Any] | None = None) -> None:
        rotate_and_save(self.directory.path, *self._state(row))


def _dropout_seed(seed: int, epoch: int, step: int) -> int:
    """64 bits for torch's generators, which then depend on nothing but the position.

    Hashed: the generator of the CPU looks at the lower 32 bits only.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}/{step}/dropout".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
