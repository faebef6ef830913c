"""Runs at a glance: where they lie, how far they are, how long still, what goes on with them."""

import logging
import os
import re
import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frcore.checkpoint import BEST, LAST, PREVIOUS, load_latest
from frcore.commands import table_of
from frcore.config import RunConfig, load_recipe
from frcore.display import plain, short
from frcore.errors import UserError, counted
from frcore.files import read_json
from frcore.process import lock_host
from frcore.run import CONFIG, ENVIRONMENT, LOCK, METRICS, STATE, Run, accuracies_of

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)

STATES = ("running", "interrupted", "damaged", "finished")  # what needs a look comes first
COLUMNS = ("run", "state", "epoch", "accuracy, %", "left", "device", "seed", "recipe")
ROOM = 110  # characters a line from which on a table is easier to read than a line a run
_RECIPE, _RUN = COLUMNS.index("recipe"), COLUMNS.index("run")


class Look(NamedTuple):
    """How far a run is."""

    state: str
    done: int = 0  # epochs
    accuracy: float = np.nan  # newest test accuracy, %
    epoch_seconds: float = np.nan  # of a mean epoch, evaluation included

    def left(self, epochs: int, *, pace: float = np.nan) -> float:
        """Seconds to the last of `epochs` at its own pace, else at `pace`; NaN where unknown."""
        own = self.epoch_seconds
        return (epochs - self.done) * (pace if np.isnan(own) else own)


def look_at(run: Run, state: str) -> Look:
    """The newest line of a run's metrics; none where they cannot be read."""
    try:
        metrics = run.metrics
    except UserError:  # half written, on a file system that shows it
        return Look(state)
    if not len(metrics):
        return Look(state)
    columns = [name for name in ("seconds", "eval_seconds") if name in metrics]
    seconds = metrics[columns].sum(axis=1).mean() if columns else np.nan
    known = metrics["test_acc"].dropna() if "test_acc" in metrics else ()
    accuracy = 100 * known.iloc[-1] if len(known) else np.nan
    return Look(state, int(metrics["epoch"].iloc[-1]), float(accuracy), float(seconds))


@dataclass(frozen=True)
class Summary:
    """A run as `frcore runs` lists it."""

    path: Path
    state: str  # one of STATES
    recipe: str = ""
    model: str = ""
    benchmark: str = ""
    device: str = ""
    seed: int | None = None
    done: int = 0  # epochs
    epochs: int = 0
    processes: int = 1  # that it trains in
    accuracies: dict[str, float] = field(default_factory=dict)  # as `Run.accuracies`
    seconds_left: float | None = None  # of a run in progress, at the pace of its epochs so far
    resume: tuple[str, ...] = ()  # the command that goes on with it, if it was interrupted
    note: str = ""  # what is wrong with it, or not certain

    def to_dict(self) -> dict[str, Any]:
        """For machines: plain values."""
        return asdict(self) | {"path": str(self.path), "resume": list(self.resume)}


def list_runs(folder: str | Path) -> list[Summary]:
    """All runs in a folder, however deep: by state (`STATES`), then by path.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"No directory '{folder}' to look for runs in. They are in 'runs', unless --out said "
            "otherwise when they were started."
        )
    found = [summarize(path) for path in find_runs(folder)]
    return sorted(found, key=lambda run: (STATES.index(run.state), _natural(run.path)))


def find_runs(folder: Path) -> Iterator[Path]:
    """Directories of runs in a folder, itself among them; links are followed, each place once."""

    def refused(error: OSError) -> None:
        log.warning("Cannot look into %s: %s.", error.filename, error.strerror)

    seen = set()
    for place, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        here = os.path.realpath(place)
        own = _is_run(set(files))
        if own and here not in seen:
            yield Path(place)
        if own or here in seen:
            folders.clear()  # what lies in a run belongs to it
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen.add(here)


def _is_run(files: set[str]) -> bool:
    """Whether a directory with these files is a run's; others, too, call a file config.json."""
    marks = {METRICS, STATE, LOCK, LAST, PREVIOUS, BEST}
    return ENVIRONMENT in files or (CONFIG in files and bool(marks & files))


def summarize(path: str | Path) -> Summary:
    """The run in a directory; "damaged", with the reason, where its files cannot be read."""
    path = Path(path)
    try:
        return _summarize(Run.open(path))
    except (UserError, OSError) as error:
        return Summary(path, "damaged", note=" ".join(str(error).split()))


def _summarize(run: Run) -> Summary:
    config, environment, state = load_recipe(run.config), run.environment, run.state
    metrics, look = run.metrics, look_at(run, state)
    resume, note = (), ""
    if state == "interrupted":
        saved = _saved_epochs(run)
        _check_log(run, look.done, saved or 0, "its checkpoint")
        look = look._replace(done=saved or 0)
        metrics = metrics[metrics["epoch"] <= look.done]
        resume, note = _resume(run, config)
        if resume and saved is None:
            note = f"has no checkpoint yet and begins anew{note and '; '}{note}"
    elif state == "finished":
        _check_log(run, look.done, read_json(run.path / STATE).get("epoch", 0), "the run")
    accuracies = {k: x for k, x in accuracies_of(metrics, run.select).items() if np.isfinite(x)}
    left = look.left(config.train.epochs) if state == "running" else np.nan
    host = lock_host(run.path / LOCK) if state == "running" else None
    if host not in (None, socket.gethostname()):
        note = f"by its lock, which {host} made; whether it still runs cannot be seen from here"
    return Summary(
        run.path,
        state,
        recipe=config.name,
        model=config.model_name,
        benchmark=config.benchmark,
        device=short(environment.get("device", "")),
        seed=config.seed,
        done=look.done,
        epochs=config.train.epochs,
        processes=_processes(environment)[0],
        accuracies=accuracies,
        seconds_left=left if np.isfinite(left) else None,
        resume=resume,
        note=note,
    )


def _saved_epochs(run: Run) -> int | None:
    """Epochs that a run which was interrupted has when it goes on; None without a checkpoint.

    Raises:
        UserError: no checkpoint is intact.
    """
    saved = load_latest(run.path, framework="numpy")
    if saved is None:
        return None
    epoch = saved.metadata.get("epoch")
    if not isinstance(epoch, int):
        raise UserError(f"{saved.path} is no checkpoint to go on from: its epoch is {epoch!r:.40}.")
    return epoch


def _check_log(run: Run, logged: int, epochs: Any, whose: str) -> None:
    """Refuses a log that ends before what it is the log of.

    Raises:
        UserError: rows are missing.
    """
    if not isinstance(epochs, int) or logged < epochs:
        raise UserError(
            f"{run.path / METRICS} is damaged: it ends after epoch {logged}, {whose} after epoch "
            f"{epochs!r:.40}. Restore it, or train again; checkpoints are not affected."
        )


def _resume(run: Run, config: RunConfig) -> tuple[tuple[str, ...], str]:
    """The command that goes on with a run, or why there is none.

    Training resumes where the configuration's hash is that of the directory; the configuration
    that lies there has it whatever recipe and changes it was made from.
    """
    if run.environment.get("config_hash") != config.hash:
        return (), "this version of frcore gives its configuration another hash: train it again"
    size, each = _processes(run.environment)
    note = ""
    if each < size:
        note = f"ran on {size // each} machines: start it on each, with torchrun's --rdzv options"
    return resume_command(run), note


def resume_command(run: Run) -> tuple[str, ...]:
    """The command that goes on with a run, in as many processes as it had."""
    train = ("frcore", "train", str(run.path / CONFIG), "--out", str(run.path))
    size, each = _processes(run.environment)
    if size == 1:
        return train
    machines = ("--nnodes", str(size // each)) if each < size else ()
    return ("torchrun", *machines, "--nproc-per-node", str(each), "-m", *train)


def _processes(environment: Mapping[str, Any]) -> tuple[int, int]:
    """Processes of a run, and those on each machine."""
    size = environment.get("processes")
    size = size if isinstance(size, int) and size > 1 else 1
    each = environment.get("processes_per_machine")
    return size, each if isinstance(each, int) and 0 < each < size else size


def _natural(path: Path) -> list[tuple[str, int]]:
    """A key that sorts seed-2 before seed-10."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", str(path))]


# ---- in words ------------------------------------------------------------------------------------


def overview_table(runs: Sequence[Summary]) -> "Table":
    """A table for wide terminals; paths and recipes fold, figures do not."""
    table = table_of([_cells(run) for run in runs], *COLUMNS)
    for place, column in enumerate(table.columns):
        column.no_wrap = place not in (_RUN, _RECIPE)
    return table


def _cells(run: Summary) -> tuple[str, ...]:
    epoch = f"{run.done}/{run.epochs}" if run.epochs else ""
    seed = "" if run.seed is None else str(run.seed)
    left = _left(run)
    device = _device(run)
    cells = (str(run.path), run.state, epoch, _accuracy(run), left, device, seed, run.recipe)
    return tuple(map(plain, cells))


def overview_lines(runs: Iterable[Summary]) -> list[str]:
    """A line a run, for narrow terminals and for other programs."""
    lines = []
    for run in runs:
        if run.state == "damaged":
            lines.append(plain(f"{run.path}: damaged"))
            continue
        accuracy, left = _accuracy(run), _left(run)
        facts = [run.state, f"epoch {run.done}/{run.epochs}"]
        facts += [f"{accuracy} %"] if accuracy else []
        facts += [f"{left} left"] if left else []
        facts += [run.recipe, f"seed {run.seed}", *([_device(run)] if run.device else [])]
        lines.append(plain(f"{run.path}: {', '.join(facts)}"))
    return lines


def remarks(runs: Sequence[Summary]) -> list[str]:
    """How many runs there are, what is wrong with some, and the commands that go on with others."""
    states = [run.state for run in runs]
    counts = [f"{states.count(state)} {state}" for state in STATES if state in states]
    lines = [f"{counted(len(runs), 'run')}: {', '.join(counts)}."]
    lines += [plain(f"{run.path}: {run.note}") for run in runs if run.note]
    resume = [plain(shlex.join(run.resume)) for run in runs if run.resume]
    return lines + (["Interrupted; these commands go on with them:", *resume] if resume else [])


def _accuracy(run: Summary) -> str:
    """ "test 79.3, unseen 90.8"; of validation clips where no test clips were looked at."""
    for split in ("test", "val"):
        share = run.accuracies.get(f"{split}_acc")
        if share is not None:
            unseen = run.accuracies.get(f"{split}_acc_unseen")
            more = "" if unseen is None else f", unseen {100 * unseen:.1f}"
            return f"{split} {100 * share:.1f}{more}"
    return ""


def _device(run: Summary) -> str:
    """ "cuda", "4 x cuda" of a run in four processes."""
    return f"{run.processes} x {run.device}" if run.processes > 1 else run.device


def _left(run: Summary) -> str:
    return "" if run.seconds_left is None else duration(run.seconds_left)


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min"; "" where it is not known."""
    if not np.isfinite(seconds):
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
