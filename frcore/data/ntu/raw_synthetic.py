"""Synthetic raw sets of NTU RGB+D: files like the real ones, with what must become of each.

The people of the embedded benchmark act, the files are named so that every protocol has training
and test clips, the cases of `raw_cases` are planted. So a pipeline can be checked, timed and tried
out without the gated data. Accuracies mean nothing here: actions that the embedded benchmark does
not know look like one that it does.
"""

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from frcore.data.benchmarks import NTU60, NTU120
from frcore.data.ntu.raw_cases import CASES, TOGETHER, Reason, stage
from frcore.data.ntu.raw_writer import write_skeleton
from frcore.data.synthetic import SYNTHETIC, make_clip, random_stream, subject
from frcore.errors import UserError, unknown_name
from frcore.files import write_errors

_SETS = {benchmark.name: benchmark for benchmark in (NTU60, NTU120)}
_LATER = 61  # the first action of NTU 120 alone, whose setups and performers are others
# For the first and the later actions. Setups, performers and cameras have lengths without a common
# divisor, so that counting along all three at once meets every combination.
_SETUPS = (range(1, 18), range(18, 32))
_PERFORMERS = ((1, 3, 2, 6, 4, 7, 5, 10, 8, 11, 9), (45, 41, 46, 42, 47, 43, 49, 44, 50, 48, 52))
_CAMERAS = (2, 1, 3)
_REPLICATIONS = (1, 2)
_ZIPS = (  # archive, folder in it
    ("nturgbd_skeletons_s001_to_s017.zip", "nturgb+d_skeletons"),
    ("nturgbd_skeletons_s018_to_s032.zip", "nturgb+d_skeletons120"),
)
_FRAMES = (48, 72)  # of a recording
_FIRST_ID = 72057594037927936  # Kinect's body ids are beyond what float64 can hold
_PAIRS = tuple(SYNTHETIC.class_names.index(n) for n in ("shaking hands", "pushing other person"))
_SOLO = tuple(k for k in range(SYNTHETIC.num_classes) if k not in _PAIRS)
# Half of the files are ordinary; each block of files has every case once.
_SOLO_PLAN = (*CASES, *["one body"] * len(CASES))
_MUTUAL_PLAN = (*TOGETHER, *["two bodies"] * len(TOGETHER))


@dataclass(frozen=True)
class Piece:
    """Frames of a slot that a body fills; a later piece overwrites an earlier one.

    Args:
        body_id: of the body, whose appearances follow each other without gaps.
        start, stop: frames of the file without those that have no body.
    """

    body_id: int
    start: int
    stop: int


@dataclass(frozen=True)
class Expected:
    """What must become of a raw file in the field's pipeline.

    Args:
        name: "SsssCcccPpppRrrrAaaa".
        case: key of `raw_cases.CASES`.
        body_ids: in order of first sight; () where the file has to be left out.
        dropped_frames: frames without a body.
        slots: pieces of slots 1 and 2, as they are written.
        dropped: why each other body is not used.
    """

    name: str
    case: str
    body_ids: tuple[int, ...]
    dropped_frames: int
    slots: tuple[tuple[Piece, ...], ...]
    dropped: dict[int, Reason]

    @property
    def num_frames(self) -> int:
        """Of the clip: those in which a slot is filled."""
        pieces = (piece for slot in self.slots for piece in slot)
        return len({frame for piece in pieces for frame in range(piece.start, piece.stop)})


def write_raw_set(
    folder: str | Path,
    num_files: int,
    *,
    benchmark: str = "ntu60",
    actions: Sequence[int] | None = None,
    seed: int = 0,
    zipped: bool = False,
) -> list[Expected]:
    """Writes raw `.skeleton` files, or the official archives of them; some 10 ms and 200 KB a file.

    Args:
        folder: where to; made if need be.
        num_files: how many; from 42 on, every case is planted.
        benchmark: "ntu60" or "ntu120".
        actions: numbers as in the names (from 1); None: all of the benchmark.
        seed: the same arguments give the same bytes.
        zipped: archives with the names and folders of the official ones instead of files.

    Returns:
        What must become of each file, in order of writing.

    Raises:
        UserError: for arguments out of range, or a folder that holds raw files already.
    """
    folder = Path(folder)
    names = sample_names(num_files, benchmark=benchmark, actions=actions)
    if any(folder.glob("*.skeleton")) or any((folder / archive).exists() for archive, _ in _ZIPS):
        raise UserError(f"{folder} holds raw files already; name a new folder, or remove them.")
    plan = _plan(names, set(_SETS[benchmark].mutual), seed)
    expected = []
    with _writing(folder, zipped=zipped) as write:
        for name, case in tqdm(plan, desc=benchmark, unit="file"):
            content, outcome = make_raw_file(name, case, seed=seed)
            write(name, content)
            expected.append(outcome)
    return expected


def sample_names(
    num_files: int, *, benchmark: str = "ntu60", actions: Sequence[int] | None = None
) -> list[str]:
    """Names of raw files: action by action, setups, cameras and performers in turn.

    Raises:
        UserError: for an unknown benchmark or action, or more files than there are combinations.
    """
    if benchmark not in _SETS:
        raise unknown_name("set of raw files", benchmark, _SETS)
    known = range(1, _SETS[benchmark].num_classes + 1)
    actions = list(known if actions is None else dict.fromkeys(actions))
    if not actions or not set(actions) <= set(known):
        raise UserError(f"actions are {actions}; expected numbers from 1 to {known[-1]}.")
    most = len(actions) * min(_num_combinations(action) for action in actions)
    if not 1 <= num_files <= most:
        raise UserError(f"num_files is {num_files}; expected 1 to {most:,} of these actions.")
    if num_files < len(actions):  # from all over the list
        actions = [actions[k * len(actions) // num_files] for k in range(num_files)]
    return [
        _sample_name(actions[k % len(actions)], k % len(actions) + k // len(actions))
        for k in range(num_files)
    ]


def _num_combinations(action: int) -> int:
    later = action >= _LATER
    return len(_SETUPS[later]) * len(_CAMERAS) * len(_PERFORMERS[later]) * len(_REPLICATIONS)


def _sample_name(action: int, place: int) -> str:
    """The place is one of `_num_combinations` in a row."""
    setups, performers = _SETUPS[action >= _LATER], _PERFORMERS[action >= _LATER]
    turns = place // (len(setups) * len(_CAMERAS) * len(performers))
    setup, camera = setups[place % len(setups)], _CAMERAS[place % len(_CAMERAS)]
    performer = performers[place % len(performers)]
    replication = _REPLICATIONS[turns % len(_REPLICATIONS)]
    return f"S{setup:03}C{camera:03}P{performer:03}R{replication:03}A{action:03}"


def _plan(names: Sequence[str], mutual: set[int], seed: int) -> list[tuple[str, str]]:
    """(name, case) of each file; cases come in blocks, shuffled."""
    counts: Counter[bool] = Counter()
    planned = []
    for name in names:
        together = int(name[-3:]) - 1 in mutual
        plan = _MUTUAL_PLAN if together else _SOLO_PLAN
        block, place = divmod(counts[together], len(plan))
        order = random_stream(seed, f"plan {together} {block}").permutation(len(plan))
        planned.append((name, plan[order[place]]))
        counts[together] += 1
    return planned


@contextmanager
def _writing(folder: Path, *, zipped: bool) -> Iterator[Callable[[str, bytes], None]]:
    """What takes names and contents of files, in turn."""
    with write_errors(folder, 0):
        folder.mkdir(parents=True, exist_ok=True)
    archives: dict[bool, zipfile.ZipFile] = {}
    with ExitStack() as stack:

        def write(name: str, content: bytes) -> None:
            with write_errors(folder, len(content)):
                if not zipped:
                    (folder / f"{name}.skeleton").write_bytes(content)
                    return
                later = int(name[-3:]) >= _LATER
                path, inside = _ZIPS[later]
                if later not in archives:
                    archives[later] = stack.enter_context(zipfile.ZipFile(folder / path, "w"))
                member = zipfile.ZipInfo(f"{inside}/{name}.skeleton")  # of 1980: equal bytes
                archives[later].writestr(member, content, zipfile.ZIP_DEFLATED, compresslevel=1)

        yield write


def make_raw_file(name: str, case: str, *, seed: int = 0) -> tuple[bytes, Expected]:
    """One raw file in which a case is played, and what must become of it.

    Args:
        name: "SsssCcccPpppRrrrAaaa": says who does what.
        case: key of `raw_cases.CASES`.
        seed: of everything random.

    Raises:
        UserError: for an unknown case.
    """
    if case not in CASES:
        raise unknown_name("case", case, CASES)
    rng = random_stream(seed, f"{name} {case}")
    bodies = stage(CASES[case], _people(name, len(CASES[case].bodies), seed, rng))
    first_id = _FIRST_ID + int(rng.integers(1, 50_000))
    ids = [first_id + k for k in range(len(bodies))]
    frames: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(_FRAMES[0])]
    if bodies:
        frames = [[] for _ in range(1 + max(seen[-1] for seen, _ in bodies))]
    for body_id, (seen, joints) in zip(ids, bodies, strict=True):
        for frame, points in zip(seen.tolist(), joints, strict=True):
            frames[frame].append((body_id, points))
    if rng.random() < 0.25:  # Kinect loses everybody for a moment
        for _ in range(rng.integers(1, 5)):
            frames.insert(int(rng.integers(len(frames) + 1)), [])
    return write_skeleton(frames), _expected(name, case, ids, frames)


def _expected(
    name: str, case: str, ids: list[int], frames: list[list[tuple[int, np.ndarray]]]
) -> Expected:
    """The case's outcome in terms of the file's ids and frames."""
    seen = [{body_id for body_id, _ in bodies} for bodies in frames if bodies]
    pieces = []
    for body_id in ids:
        present = [frame for frame, there in enumerate(seen) if body_id in there]
        pieces.append(Piece(body_id, present[0], present[0] + len(present)))
    return Expected(
        name=name,
        case=case,
        body_ids=tuple(ids),
        dropped_frames=len(frames) - len(seen),
        slots=tuple(tuple(pieces[k] for k in slot) for slot in CASES[case].slots),
        dropped={ids[k]: reason for k, reason in CASES[case].dropped},
    )


def _people(name: str, count: int, seed: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(T, 25, 3) metres of each body: who acts, with whom, and who else is about."""
    performer, action = int(name[9:12]), int(name[-3:])
    num_frames = int(rng.integers(_FRAMES[0], _FRAMES[1] + 1))
    people: list[np.ndarray] = []
    while len(people) < count:
        label = _label(action) if not people else int(rng.choice(_SOLO))
        numbers = performer + 200 * len(people), performer + 100  # nobody is there twice
        actors = subject(numbers[0], seed=seed), subject(numbers[1], seed=seed)
        clip, _ = make_clip(label, actors, rng)
        # To and fro, until the recording ends.
        there_and_back = np.concatenate([np.arange(len(clip)), np.arange(len(clip) - 2, 0, -1)])
        clip = clip[np.resize(there_and_back, num_frames)]
        aside = (0.8 * len(people) * (-1) ** len(people), 0.0, 0.0)
        people += [clip[:, person] + aside for person in range(clip.shape[1])]
    return people[:count]


def _label(action: int) -> int:
    """The embedded benchmark's class that stands for an action of NTU RGB+D."""
    name = NTU120.class_names[action - 1]
    if name in SYNTHETIC.class_names:
        return SYNTHETIC.class_names.index(name)
    alike = _PAIRS if action - 1 in NTU120.mutual else _SOLO
    return alike[action % len(alike)]
