"""The training loop: `fit` a recipe into a run directory, resumable at any step, bit for bit."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from frcore import ranks, resume, sharing
from frcore.callbacks import Callback, headline, tell
from frcore.checkpoint import load_latest
from frcore.config import RunConfig, load_recipe
from frcore.data.catalog import get_benchmark, open_store
from frcore.data.random import batch_ends, dropout_seed, epoch_batches
from frcore.data.store import Store
from frcore.device import autocast, choose_device, choose_precision, compiled, torch_settings
from frcore.display import SILENT
from frcore.evaluation import Stopped, judge_splits
from frcore.guard import StepGuard
from frcore.optim import build_optimizer, check_warmup, learning_rate
from frcore.recognizer import build_recognizer, check_model, checkpoint_metadata
from frcore.records import EpochRecord
from frcore.run import Run
from frcore.run_dir import RunDir, WatchedDir
from frcore.splits import load_splits
from frcore.stopping import BrokenOff, StopRequest

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
    config, process = load_recipe(recipe_or_config, overrides), ranks.launch()
    device = choose_device(config.train.device, process)
    check_model(config, get_benchmark(config.benchmark))  # before any data is read
    check_warmup(config.optim, config.train.epochs)
    told = [*callbacks, *([live] if live is not None else [])]
    sharing.check_batch_size(config.train.batch_size, process)
    with ranks.joined(process, device):
        with ranks.first_goes_first():
            store = open_store(config.benchmark)
        path, finished = ranks.from_first(lambda: resume.find_run(out, config))
        told = told if ranks.is_first() else []
        if not finished:
            with resume.say_how_to_go_on(path):
                return _train(config, store, path, device, told, process.agent)
    resume.check_finished(path, store)
    log.info("%s is finished already; delete it to train again.", path)
    run = Run.open(path)
    for event in ("on_start", "on_end"):  # a live view shows what is there
        tell(told, event, run)
    return run


def _train(
    config: RunConfig,
    store: Store,
    path: Path,
    device: torch.device,
    told: Sequence[Callback],
    agent: int | None,
) -> Run:
    """Trains in a directory from where it is to the end, or until it is stopped."""
    ranks.check_alike(configuration=config.hash, clips=store.fingerprint, torch=torch.__version__)
    settings = torch_settings(device, config.train.threads, config.train.deterministic)
    once = ranks.here().size > 1
    with StopRequest(agree=ranks.highest, once=once, parent=agent) as stop:
        with (RunDir if ranks.is_first() else WatchedDir)(path) as directory, settings:
            trainer = Trainer(config, store, directory, device)
            with ranks.first_goes_first():
                resume.record_environment(directory, config, store, device)
            trainer.run(stop, told)
        ranks.wait_for_all()  # the directory is as the first one leaves it
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
        self._compiling: Callable[[], AbstractContextManager] = nullcontext
        self.record = self._new_record()
        self._resume()

    def _build_model(self) -> None:
        torch.manual_seed(self.config.seed)
        model = build_recognizer(self.config, self.store.benchmark).to(self.device)
        self.model = sharing.share_norms(model, self.device)
        self.forward = compiled(self.model, self.config.train.compile)
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
        ranks.check_alike(checkpoint=None if checkpoint is None else checkpoint.sha256)
        if checkpoint is not None:
            resume.check_same_data(checkpoint.path, checkpoint.metadata, self.store)
            meta = resume.position_of(checkpoint)
            record = self.record if meta["step"] > 0 else None
            resume.restore_state(checkpoint, self.model, self.optimizer, record)
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
        if self.config.train.compile != "off" and ranks.here().size == 1:
            self._compiling = stop.at_once  # takes minutes; of several ranks, all end the step
        bar = tqdm(
            total=epochs * self.steps_per_epoch,
            initial=self.epoch * self.steps_per_epoch + self.step,
            desc=self.config.name,
            unit="step",
            mininterval=0.5,
            smoothing=0,  # the mean rate: evaluations between epochs would throw a recent one off
            disable=SILENT.get(),
        )
        tell(callbacks, "on_start", run)
        try:
            with bar:
                while self.epoch < epochs and not stop.ask():
                    self._train_epoch(bar, stop)
                    row = None if stop.agreed else self._end_epoch(stop)
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
            self._gather()
            self._save()
        log.warning(
            "Stopped after epoch %d, step %d. Start it again to go on from there.",
            self.epoch,
            self.step,
        )

    def _train_epoch(self, bar: tqdm, stop: StopRequest) -> None:
        """Steps to the end of the epoch or to a stop."""
        config, train = self.config, self.splits.train
        batches = epoch_batches(
            train.clips.keys,
            config.train.batch_size,
            seed=config.seed,
            epoch=self.epoch,
            repeats=config.data.repeats,
        )[self.step :]
        parts = [tuple(x[sharing.part_of(len(x)).rows] for x in batch) for batch in batches]
        self.model.train()
        begin = time.perf_counter() - self.seconds
        with closing(train.batches(parts, epoch=self.epoch)) as made:
            for (index, repeat), clips in zip(batches, made, strict=True):
                try:
                    self._train_step(index, repeat, clips)
                except BrokenOff:
                    self.guard.undo_forward()
                    stop.ask()
                    break
                self.step += 1
                bar.update()
                if self.step % self.guard.read_every == 0:  # the device has just been waited for
                    now = {"epoch": self.epoch + 1, "train_acc": self.record.accuracy()}
                    now |= self.record.losses()
                    bar.set_postfix_str(headline(now, config.train.epochs), refresh=False)
                if stop.ask():
                    break
        self.guard.read()
        self.seconds = time.perf_counter() - begin

    def _train_step(self, index: Tensor, repeat: Tensor, clips: Tensor) -> None:
        """One update by a batch: places and repeats (N,) of its clips, and those of this rank's
        part of it (n, C, T, V, M)."""
        config, part = self.config, sharing.part_of(len(index))
        position = self.epoch + self.step / self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config.optim, config.train.epochs, position)
        torch.manual_seed(dropout_seed(config.seed, self.epoch, self.step, ranks.here().rank))
        own = index[part.rows]
        labels = self.splits.train.clips.labels[own]

        self.guard.before_forward()
        with self._compiling():
            with autocast(self.device, self.dtype):
                out = self.forward(clips)
            logits, counted = out.logits, part.share > 0
            ce = F.cross_entropy(logits, labels, label_smoothing=config.optim.label_smoothing)
            head, loss = None, ce
            if self.model.head is not None:
                head = self.model.head(out.stages, labels, logits, counted=counted)
                loss = ce + config.head.weight * head.loss
            loss = loss * part.share
            loss.backward()
        loss = sharing.sum_gradients(self.guard.parameters, loss)  # of the whole batch
        ok = self.guard.step(loss, index, f"epoch {self.epoch + 1}, step {self.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        self.record.add(own, repeat[part.rows], labels, logits, ce, head, ok, counted=counted)

    def _end_epoch(self, stop: StopRequest) -> dict[str, Any] | None:
        """Evaluates, logs, saves; returns the row of metrics.csv, or None if stopped meanwhile."""
        config, epoch = self.config, self.epoch + 1
        begin = time.perf_counter()
        self._gather()
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
            self.directory.save_best(*self._state(row, best=True))
        self._save(row)
        return row

    def _write_logs(self, row: dict[str, Any], judged: dict[str, Any]) -> None:
        directory, epoch, head = self.directory, row["epoch"], self.model.head
        directory.append_metrics(row)
        names = {"class_names": self.store.benchmark.class_names}
        clips = self.splits.identities() | names
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
        return resume.training_state(self.model, self.optimizer, record), metadata

    def _save(self, row: dict[str, Any] | None = None) -> None:
        self.directory.save(*self._state(row))

    def _gather(self) -> None:
        """Makes what each rank has for itself that of all: running statistics, the record."""
        sharing.average_norms(self.model)
        self.record.collect()
