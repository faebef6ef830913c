"""What is here: device, precision, threads, memory, disks, data, versions; what is slow in it."""

import importlib.metadata
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from frcore.config import TrainConfig
from frcore.data.catalog import list_benchmarks
from frcore.data.store import data_root, has_store
from frcore.device import choose_device, choose_precision, has_matrix_units, torch_settings
from frcore.doctor.findings import Finding, gigabytes
from frcore.process import cores, environment_record
from frcore.residence import free_memory

EXTRAS = {  # of pyproject.toml, with the package that each is there for
    "tensorboard": "tensorboard",
    "cluster": "distributed",
    "export": "kaleido",
    "pacmap": "pacmap",
}
RUNS = Path("runs")
_DRIVER, _GROUP = Path("/proc/driver/nvidia/version"), Path("/sys/fs/cgroup")
_SLOW_BF16 = "without AMX bf16 products were measured at half the rate of fp32 ones"
_GET_STARTED = "https://pytorch.org/get-started/locally/"


@dataclass(frozen=True)
class Machine:
    """Where training would run, as it would find it."""

    train: TrainConfig  # what was asked for
    device: torch.device
    dtype: torch.dtype
    matrix_units: bool  # they multiply bfloat16
    threads: int
    cores: int  # that this process may use
    all_cores: int
    quota: float | None  # cores' worth of time that a control group allows
    load: float | None  # processes that want a core, mean of the last minute
    waiting: str  # what was said to OpenMP
    cuda_build: str | None  # CUDA version that torch was built for
    driver: bool  # an NVIDIA driver is here
    hidden: str | None  # CUDA_VISIBLE_DEVICES
    card: str  # its name and compute capability; "" on a CPU

    @property
    def precision(self) -> str:
        """As `train.precision` calls it."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def free_cores(self) -> int:
        """Cores that nothing else uses, at least one."""
        free = self.all_cores - round(self.load or 0)
        return int(max(1, min(self.cores, free, self.quota or free)))


def look_at_machine(train: TrainConfig) -> Machine:
    """Finds out what training with these settings would use.

    Raises:
        UserError: the device that is asked for is not here.
    """
    device = choose_device(train.device)
    with torch_settings(device, train.threads, train.deterministic):
        threads = torch.get_num_threads()
    card = ""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        card = f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return Machine(
        train=train,
        device=device,
        dtype=choose_precision(train.precision, device),
        matrix_units=has_matrix_units(device),
        threads=threads,
        cores=cores(),
        all_cores=os.cpu_count() or 1,
        quota=_quota(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        waiting=", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ),
        cuda_build=torch.version.cuda,
        driver=_DRIVER.exists() or shutil.which("nvidia-smi") is not None,
        hidden=os.environ.get("CUDA_VISIBLE_DEVICES"),
        card=card,
    )


def _quota() -> float | None:
    """What `docker run --cpus` and schedulers allow (control groups of version 2)."""
    try:
        share, period = (_GROUP / "cpu.max").read_text().split()
        return None if share == "max" else int(share) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def machine_findings(machine: Machine) -> list[Finding]:
    """What is used, and why."""
    m, here = machine, str(machine.device)
    allowed = "" if m.quota is None else f", {m.quota:g} cores' worth of time"
    found = [
        Finding("device", here, here, m.card or _why_cpu(m)),
        Finding("precision", m.precision, m.precision, _why_precision(m)),
        Finding(
            "threads",
            m.threads,
            f"{m.threads} of {m.cores} cores{allowed}",
            "train.threads" if m.train.threads else _why_threads(),
        ),
        Finding("waiting threads", m.waiting, m.waiting or "as OpenMP has it", "the environment"),
        Finding("load", m.load, "unknown" if m.load is None else f"{m.load:.1f}", "last minute"),
    ]
    free = free_memory(torch.device("cpu"))
    found.append(Finding("free memory, host", free, gigabytes(free)))
    if m.device.type == "cuda":
        left, matmul = free_memory(m.device), torch.get_float32_matmul_precision()
        why = f"float32 products are computed as '{matmul}'; bf16 ones do not ask"
        found.append(Finding("free memory, card", left, gigabytes(left)))
        found.append(Finding("TF32", matmul != "highest", _on(matmul != "highest"), why))
    return found


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def _why_cpu(m: Machine) -> str:
    if m.train.device == "cpu":
        return "train.device"
    if m.cuda_build is None:
        return f"torch {torch.__version__} is a build without CUDA"
    why = f"torch {torch.__version__} is built for CUDA {m.cuda_build} and sees no card"
    if m.hidden is not None:
        return f"{why}: CUDA_VISIBLE_DEVICES is '{m.hidden}'"
    return why if m.driver else f"{why}: no NVIDIA driver was found"


def _why_precision(m: Machine) -> str:
    if m.train.precision != "auto":
        return "train.precision"
    if m.device.type == "cpu":
        units = "AMX" if m.matrix_units else f"no AMX, and {_SLOW_BF16}"
        return f"this CPU has {units}"
    return "compute capability 8.0 and newer multiply bf16 fast" + (
        "" if m.matrix_units else "; this card is older"
    )


def _why_threads() -> str:
    given = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={given}" if given else "torch's choice; train.threads is not set"


def card_advice(m: Machine) -> list[str]:
    """What would bring a card into use."""
    if m.device.type == "cuda":
        return []
    if torch.cuda.is_available():
        return ["--set train.device=auto: there is a CUDA device, and the CPU was asked for."]
    if m.driver and m.cuda_build is None:
        return [
            "Install torch for CUDA: there is an NVIDIA driver, and this torch is a build without "
            f"CUDA ({_GET_STARTED})."
        ]
    if m.driver and m.hidden is None:
        return [
            f"Update the NVIDIA driver, or install a torch for its CUDA version ({_GET_STARTED}): "
            f"there is a driver, and torch for CUDA {m.cuda_build} sees no card. nvidia-smi says "
            "which version the driver knows."
        ]
    return []


def compile_advice(m: Machine) -> list[str]:
    """Whether torch.compile should be on: never measured here, as it takes minutes to begin."""
    if m.device.type == "cuda" and m.train.compile == "off":
        return [
            "--set train.compile=default: torch.compile may be faster on a card; the first step "
            "takes minutes, and rounding differs."
        ]
    if m.device.type == "cpu" and m.train.compile != "off":
        return ["--set train.compile=off: on a CPU torch.compile was measured slower in float32."]
    return []


def settings_advice(m: Machine) -> list[str]:
    """Precision and threads that should be faster by rule; measuring knows better."""
    advice = []
    if m.train.precision == "bf16" and not m.matrix_units:
        slow = _SLOW_BF16 if m.device.type == "cpu" else "this card has no fast bf16 products"
        advice.append(f"--set train.precision=fp32: {slow}.")
    if m.train.precision == "fp32" and m.matrix_units:
        where = "card's" if m.device.type == "cuda" else "CPU's"
        advice.append(f"--set train.precision=auto: this {where} matrix units multiply bf16 fast.")
    return advice + (_thread_advice(m) if m.device.type == "cpu" else [])


def _thread_advice(m: Machine) -> list[str]:
    free, room = m.free_cores, min(m.cores, m.quota or m.cores)
    if m.threads > room:
        share = f"{m.threads} threads share the time of {room:g} cores, and wait for each other"
        return [f"--set train.threads={free}: {share}."]
    if m.threads > free:
        busy, load = min(m.all_cores, round(m.load or 0)), m.load or 0.0
        why = f"{busy} of {m.all_cores} cores are busy (load {load:.1f}), and {m.threads} threads"
        advice = [f"--set train.threads={free}: {why} wait for each other."]
        if "passive" not in m.waiting.lower():
            advice.append(
                "OMP_WAIT_POLICY=passive in the environment, as long as others are busy: a step "
                "of two threads took 1.1 s instead of 1.7 beside a busy process, but 0.8 instead "
                "of 0.6 alone."
            )
        return advice
    if m.threads < free:
        return [
            f"--set train.threads={free}: {free} cores are free, and {m.threads} would be used "
            "(frcore doctor RECIPE --measure tells)."
        ]
    return []


def place_findings() -> list[Finding]:
    """Where data and runs lie, and how much room there is."""
    root = data_root()
    there = sorted(path.name for path in root.glob("[!.]*") if has_store(path))
    absent = [name for name in list_benchmarks() if name not in there]
    return [
        Finding(
            "data", there, ", ".join(there) or "none", f"in {root}; not there: {_list(absent)}"
        ),
        *(
            Finding(f"free disk, {what}", free, gigabytes(free), str(path))
            for what, path in (("data", root), ("runs", RUNS))
            for free in [free_disk(path)]
        ),
    ]


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def free_disk(path: Path) -> int | None:
    """Bytes that are free where a path is, or would be made; None where nobody can tell."""
    for place in (path.absolute(), *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def version_findings() -> list[Finding]:
    """Versions of what is installed, and which extras are."""
    record = environment_record()
    versions = {"python": record["python"], **record["versions"]}
    versions["frviz"] = versions["frcore"] if importlib.util.find_spec("frviz") else None
    extras = {extra: _version(package) for extra, package in EXTRAS.items()}
    shown = [f"{name} {version or 'absent'}" for name, version in versions.items()]
    absent = [extra for extra, version in extras.items() if version is None]
    how = f"pip install -c constraints.txt -e '.[{','.join(absent)}]'" if absent else ""
    present = [f"{extra} {version or 'absent'}" for extra, version in extras.items()]
    return [
        Finding("versions", versions, ", ".join(shown), f"commit {record['commit'] or 'unknown'}"),
        Finding("extras", extras, ", ".join(present), how),
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
