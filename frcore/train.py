"""The training loop: `fit` a recipe into a run directory, resumable at any step, bit for bit."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from frcore.checkpoint import (
    BEST,
    Checkpoint,
    CheckpointError,
    load_latest,
    rotate_and_save,
    save_checkpoint,
)
from frcore.config import RunConfig, load_recipe
from frcore.data.augment import epoch_order
from frcore.data.store import Store, open_store
from frcore.errors import UserError
from frcore.evaluation import autocast, choose_device, choose_precision, forward_split
from frcore.guard import StepGuard
from frcore.optim import build_optimizer, learning_rate
from frcore.recognizer import build_recognizer, checkpoint_metadata
from frcore.records import EpochRecord
from frcore.run_dir import Run, RunDir, StopRequest, choose_run_dir
from frcore.splits import load_splits

log = logging.getLogger(__name__)


class Callback(Protocol):
    """What `fit` tells while it trains; every method may be left out."""

    def on_start(self, run: Run) -> None: ...
    def on_epoch(self, run: Run, row: dict[str, Any]) -> None: ...
    def on_end(self, run: Run) -> None: ...


def fit(
    recipe: str | Path | Mapping[str, Any] | RunConfig,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    live: Callback | None = None,
    **overrides: Any,
) -> Run:
    """Trains a recogniser, or goes on with one that was interrupted.

    Args:
        recipe: a shipped recipe's name, a YAML file, a mapping or a `RunConfig`.
        out: the run's directory; default `runs/<recipe>`. The same configuration resumes there;
            another one gets a numbered directory beside it.
        callbacks: told of start, epochs and end.
        live: one more of them, such as `frviz.live()`.
        **overrides: configuration values, nested or dotted: `seed=1`, `optim={"lr": 0.05}`,
            `**{"optim.lr": 0.05}`.

    Returns:
        The run. After Ctrl-C (or a notebook's stop button) the partial one, saved and resumable.

    Raises:
        UserError: a mistake in the configuration, the data or the directory, before training starts.
        SystemExit: with code 143 after SIGTERM; the run is saved and resumable.
    """
    config = load_recipe(recipe, overrides)
    device = choose_device(config.train.device)
    store = open_store(config.benchmark)
    path, resumed = choose_run_dir(out or Path("runs") / config.name, config.hash)
    if resumed and Run.open(path).state == "finished":
        log.info("%s is finished already; delete it to train again.", path)
        return Run.open(path)
    told = [*callbacks, *([live] if live is not None else [])]
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    with RunDir(path) as directory, StopRequest() as stop, torch.random.fork_rng():
        directory.write_config(
            config.model_dump(mode="json"),
            config_hash=config.hash,
            device=str(device),
            threads=torch.get_num_threads(),
        )
        Trainer(config, store, directory, device).run(stop, told)
    if stop.signal is not None and stop.signal.name == "SIGTERM":
        raise SystemExit(143)
    return Run.open(path)


class Trainer:
    """One run in progress: data, model, optimiser and position. `run` takes it to its end."""

    def __init__(
        self, config: RunConfig, store: Store, directory: RunDir, device: torch.device
    ) -> None:
        self.config, self.store, self.directory, self.device = config, store, directory, device
        self.dtype = choose_precision(config.train.precision, device)
        self.splits = load_splits(store, config, device)
        self._build_model()
        self.epoch, self.step = 0, 0  # epochs completed; steps done in the current one
        self.best: float | None = None
        self.record = self._new_record()
        checkpoint = load_latest(directory.path)
        if checkpoint is not None:
            self._restore(checkpoint)
        directory.truncate(self.epoch)

    def _build_model(self) -> None:
        config = self.config
        torch.manual_seed(config.seed)
        self.model = build_recognizer(config, self.store.benchmark).to(self.device)
        self.optimizer = build_optimizer(self.model, config.optim)
        sample_ids = self.splits.train.clips.sample_ids
        self.guard = StepGuard(
            self.model,
            self.optimizer,
            lambda index: [sample_ids[i] for i in index.tolist()],
            read_every=1 if self.device.type == "cpu" else 20,
        )

    def _new_record(self) -> EpochRecord:
        head = self.model.head
        return EpochRecord(
            len(self.splits.train.clips),
            self.store.benchmark.num_classes,
            head.spaces if head is not None else (),
            self.device,
        )

    @property
    def steps_per_epoch(self) -> int:
        views = len(self.splits.train.clips) * self.config.data.repeats
        return math.ceil(views / self.config.train.batch_size)

    def run(self, stop: StopRequest, callbacks: Sequence[Callback]) -> None:
        """Trains from the current position to the last epoch, or until `stop` is requested."""
        run, epochs = Run.open(self.directory.path), self.config.train.epochs
        bar = tqdm(
            total=epochs * self.steps_per_epoch,
            initial=self.epoch * self.steps_per_epoch + self.step,
            desc=self.config.name,
            unit="step",
            mininterval=0.5,
        )
        with bar, _deterministic(self.config.train.deterministic, self.device):
            _tell(callbacks, "on_start", run)
            while self.epoch < epochs and not stop.requested:
                seconds = self._train_epoch(bar, stop)
                if stop.requested and self.step < self.steps_per_epoch:
                    break
                row = self._end_epoch(seconds)
                bar.set_postfix_str(_headline(row, epochs))
                _tell(callbacks, "on_epoch", run, row)
            if self.epoch == epochs:
                self.directory.finish(epochs)
            elif self.step > 0:
                self._save()
            if self.epoch < epochs:
                log.warning(
                    "Stopped in epoch %d and saved; the same command goes on.", self.epoch + 1
                )
            _tell(callbacks, "on_end", run)

    def _train_epoch(self, bar: tqdm, stop: StopRequest) -> float:
        """Steps to the end of the epoch or to a stop; returns the seconds it took."""
        config, train = self.config, self.splits.train
        order = epoch_order(
            train.clips.keys, seed=config.seed, epoch=self.epoch, repeats=config.data.repeats
        )
        batches = list(zip(*(o.split(config.train.batch_size) for o in order), strict=True))
        self.model.train()
        begin = time.perf_counter()
        for index, repeat in batches[self.step :]:
            self._train_step(index, repeat)
            self.step += 1
            bar.update()
            if stop.requested:
                break
        self.guard.read()
        return time.perf_counter() - begin

    def _train_step(self, index: Tensor, repeat: Tensor) -> None:
        config, train = self.config, self.splits.train
        position = self.epoch + self.step / self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config.optim, config.train.epochs, position)
        if config.model.dropout > 0:  # positional, as all randomness, so that a run can resume here
            torch.manual_seed((config.seed << 40) + (self.epoch << 20) + self.step)
        clips = train(index, epoch=self.epoch, repeat=repeat).to(self.device, non_blocking=True)
        labels = train.clips.labels[index].to(self.device)

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
        self.record.add(index.to(self.device), labels, logits, ce, head, ok)

    def _end_epoch(self, seconds: float) -> dict[str, Any]:
        """Evaluates, logs, saves; returns the row of metrics.csv."""
        config, directory = self.config, self.directory
        begin = time.perf_counter()
        evaluate = (self.epoch + 1) % config.train.eval_every == 0
        scores, history = self._evaluate(evaluate or self.epoch + 1 == config.train.epochs)
        position = self.epoch + (self.step - 1) / self.steps_per_epoch
        row = {
            "epoch": self.epoch + 1,
            "lr": learning_rate(config.optim, config.train.epochs, position),
            **self.record.row(),
            **scores,
            "seconds": seconds,
            "eval_seconds": time.perf_counter() - begin,
            "samples_per_s": len(self.splits.train.clips) * config.data.repeats / seconds,
        }
        weight = config.head.weight if config.head else 0.0
        row["loss"] = row["ce"] + weight * row["cl"]
        directory.append_metrics(row)
        directory.append_arrays(
            "history", row["epoch"], {**self.record.history(), **history}, fixed=self._clip_tables()
        )
        if self.model.head is not None:
            directory.append_arrays(
                "calibration",
                row["epoch"],
                self.record.calibration(),
                fixed={
                    "spaces": self.model.head.spaces,
                    "class_names": self.store.benchmark.class_names,
                },
            )
        self.epoch, self.step, self.record = self.epoch + 1, 0, self._new_record()
        value = row.get("test_acc" if config.train.select == "test_best" else "val_acc")
        if value is not None and not math.isnan(value) and value > (self.best or -1.0):
            self.best = value
            save_checkpoint(directory.path / BEST, *self._state(row))
        self._save(row)
        return row

    def _evaluate(self, now: bool) -> tuple[dict[str, float], dict[str, Any]]:
        """Accuracies and per-clip history of val and test; NaN and -1 in epochs without evaluation."""
        scores: dict[str, float] = {}
        history: dict[str, Any] = {}
        for split, pipeline in self.splits.judges.items():
            labels = pipeline.clips.labels.cpu()
            predicted = torch.full((len(labels),), -1)
            p_true = torch.full((len(labels),), float("nan"))
            if now:
                size = 4 * self.config.train.batch_size
                logits, _ = forward_split(self.model, pipeline, batch_size=size, dtype=self.dtype)
                predicted = logits.argmax(1)
                p_true = torch.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
            correct = (predicted == labels).double()
            scores[f"{split}_acc"] = correct.mean().item() if now else math.nan
            if split == "test" and self.splits.unseen is not None:
                unseen = correct[self.splits.unseen].mean().item()
                scores["test_acc_unseen"] = unseen if now else math.nan
            history[f"{split}_predicted"] = predicted.numpy().astype("int16")
            history[f"{split}_p_true"] = p_true.numpy()
        return scores, history

    def _clip_tables(self) -> dict[str, Any]:
        tables: dict[str, Any] = {}
        for split, pipeline in self.splits.all.items():
            tables[f"{split}_sample_ids"] = pipeline.clips.sample_ids
            tables[f"{split}_labels"] = pipeline.clips.labels.cpu().numpy()
        return tables

    def _state(self, row: dict[str, Any] | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and metadata of a checkpoint at the current position."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, p in self.model.named_parameters():
            if "momentum_buffer" in self.optimizer.state[p]:
                tensors[f"optim.{name}"] = self.optimizer.state[p]["momentum_buffer"]
        if self.step > 0:
            tensors |= self.record.tensors()
        metadata = checkpoint_metadata(self.config, self.store.benchmark, self.store.fingerprint)
        position = {"epoch": self.epoch, "step": self.step, "best": self.best, "metrics": row}
        return tensors, {**metadata, **position}

    def _save(self, row: dict[str, Any] | None = None) -> None:
        rotate_and_save(self.directory.path, *self._state(row))

    def _restore(self, checkpoint: Checkpoint) -> None:
        meta = checkpoint.metadata
        if meta["fingerprint"] != self.store.fingerprint:
            raise UserError(
                f"{checkpoint.path} was trained on other clips of '{self.store.benchmark.name}' than "
                f"{self.store.path} holds now (fingerprint {meta['fingerprint'][:12]}, now "
                f"{self.store.fingerprint[:12]}). Restore that store, or choose another --out."
            )
        if meta["config_hash"] != self.config.hash:
            raise CheckpointError(f"{checkpoint.path} belongs to another configuration.")
        self.model.load_state_dict(checkpoint.part("model"))
        momentum = checkpoint.part("optim")
        for name, p in self.model.named_parameters():
            if name in momentum:
                self.optimizer.state[p]["momentum_buffer"].copy_(momentum[name])
        self.epoch, self.step, self.best = meta["epoch"], meta["step"], meta["best"]
        if self.step > 0:
            self.record.load(checkpoint.part("meters"))
        log.info("Resuming %s after epoch %d, step %d.", self.config.name, self.epoch, self.step)


def _tell(callbacks: Sequence[Callback], event: str, *args: Any) -> None:
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(*args)


def _headline(row: dict[str, Any], epochs: int) -> str:
    shown = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.3f}"]
    for split in ("train", "val", "test"):
        if f"{split}_acc" in row:
            shown.append(f"{split} {100 * row[f'{split}_acc']:.1f}%")
    return ", ".join(shown)


def _deterministic(wanted: bool, device: torch.device) -> Any:
    """cuDNN and friends restricted to deterministic algorithms; the CPU's already are."""
    if not wanted or device.type == "cpu":
        return nullcontext()
    return torch.backends.cudnn.flags(deterministic=True, benchmark=False)
