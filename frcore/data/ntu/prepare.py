"""NTU RGB+D 60 and 120: raw `.skeleton` files to a store, in parallel, resumable, in little memory.

Finished blocks of files lie in a work folder beside the store; when all are there, the store is
written from them in the order of the names. So neither a kill nor the number of processes changes
a byte of it.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from frcore.data.benchmarks import NTU60, NTU120, Benchmark
from frcore.data.clips import ClipRecord, Problems
from frcore.data.ntu.blocks import BlockTask, Outcome, plan_blocks, read_block
from frcore.data.ntu.presets import NtuPreset, get_preset
from frcore.data.ntu.protocols import parse_name
from frcore.data.ntu.report import Report, left_out_table
from frcore.data.ntu.sources import SECOND, LeftOut, Listing, list_files, paths_of, read_exclude
from frcore.data.ntu.workers import convert_blocks
from frcore.data.replacing import ANOTHER_ROOT, refuse_to_replace, write_unless_there
from frcore.data.store import Store, data_root
from frcore.data.writer import refuse_foreign_folder
from frcore.errors import UserError, unknown_name
from frcore.files import WriteError, atomic_write, make_folder_of, write_errors
from frcore.process import ProcessLock, cores
from frcore.stopping import exit_on_sigterm

log = logging.getLogger(__name__)

_RECORDS = {record.name: record for record in (NTU60, NTU120)}


def prepare(
    source: str | Path | Sequence[str | Path],
    *,
    benchmark: str,
    exclude: str | Path | None = None,
    preset: str | NtuPreset = "field",
    workers: int | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    root: str | Path | None = None,
) -> Store:
    """Makes the store "ntu60" or "ntu120" from raw files; a killed call goes on when made again.

    Clips are (T, M, 25, 3) float32, metres, M = 1 or 2, chosen and centred by the preset's rules,
    in the order of their names, which tell label, protocols, setup, camera, subject, replication.
    What was left out and dropped is in `Store.record["report"]`, file by file in `left_out.csv`,
    clip by clip in `bodies.csv`. Differences from the published counts are `Store.notices`.

    In a script, call it below `if __name__ == "__main__":`; its processes import the script.

    Args:
        source: folders (searched to any depth for `.skeleton` files and for zips that hold some)
            or the official zips (read where they are, nothing is unpacked); one or several. What
            lies beside is left aside with a warning.
        benchmark: "ntu60" (files of NTU RGB+D 120 alone are left out and counted) or "ntu120".
        exclude: text file of samples to leave out, one a line: the list of incomplete skeletons
            that comes with the data set.
        preset: the rules, see `frcore.data.ntu.presets`: "field", "clean" or one of yours.
        workers: processes; None: one a core. Each takes some 50 MB, the call itself 230 MB for all
            of NTU 120.
        skip_bad: leave out files that cannot be read or whose name is wrong (of a name that occurs
            twice: the second), and report them. Without, they are an error, and all of them are in
            `<benchmark>-bad-files.csv` in the data root. Archives are taken whole or not at all.
        overwrite: replace an existing store. Without, one is refused before the work begins.
        root: data root; None: `data_root()`.

    Raises:
        UserError: naming the files that are not as expected, with the line, and why.
    """
    if benchmark not in _RECORDS:
        raise unknown_name("NTU benchmark", benchmark, _RECORDS)
    rules = get_preset(preset)
    record = _record(benchmark, rules)
    workers = cores() if workers is None else _checked(workers)
    path = (Path(root) if root is not None else data_root()) / benchmark
    refuse_foreign_folder(path)
    work = path.parent / f".{path.name}.work"
    excluded = None if exclude is None else read_exclude(exclude)
    listing = list_files(paths_of(source), benchmark, excluded.names if excluded else ())
    tasks = plan_blocks(listing.files, rules, work)
    # Where all blocks are there, a killed call goes on: perhaps it had put the store in place.
    if not overwrite and not all(task.path.is_file() for task in tasks):
        refuse_to_replace(path, instead=ANOTHER_ROOT)
    for notice in listing.notices:  # before the work: it may show that something is missing
        log.warning("%s", notice)
    make_folder_of(path)
    with ProcessLock(path.parent / f".{path.name}.prepare.lock"), _stoppable(tasks, benchmark):
        bad_list = path.parent / f"{benchmark}-bad-files.csv"
        if not skip_bad:
            _stop_at(listing.refused, _about_names(listing, benchmark), bad_list)
        report = Report(benchmark, rules, listing, excluded)
        for outcomes in _convert(tasks, listing, benchmark, workers):
            report.add(outcomes)
        if not skip_bad:
            _stop_at(report.bad_files(), f"Cannot prepare {benchmark}", bad_list)
        store = write_unless_there(
            path,
            record,
            _clips(tasks, benchmark),
            overwrite=overwrite,
            preset=rules.name,
            instead=ANOTHER_ROOT,
            notices=report.notices(),
            report=report.to_dict(),
            tables=report.tables(),
        )
        shutil.rmtree(work, ignore_errors=True)
        bad_list.unlink(missing_ok=True)  # of an earlier call
    for notice in store.notices:  # last, where a progress bar does not hide it
        log.warning("%s: %s", benchmark, notice)
    return store


def _record(benchmark: str, preset: NtuPreset) -> Benchmark:
    record = replace(_RECORDS[benchmark], centered=preset.center)
    if preset.absent_person is None:
        return record
    return replace(record, absent_person=preset.absent_person)


def _checked(workers: int) -> int:
    if type(workers) is not int or workers < 1:
        raise UserError(f"workers is {workers!r}; expected 1 or more processes.")
    return workers


def _about_names(listing: Listing, benchmark: str) -> str:
    text = (
        f"The files are not all of {benchmark}. Nothing was converted: names and places come "
        "first, what is in the files only then"
    )
    if any(item.reason == SECOND for item in listing.refused):
        text += ". Of the zips and the folder that they were unpacked to, give one"
    return text


def _stop_at(found: Sequence[LeftOut], what: str, path: Path) -> None:
    """Raises if there are such files, and lists them all in a file."""
    if not found:
        return
    problems = Problems()
    for item in found:
        problems.add(item.detail)
    try:
        atomic_write(path, left_out_table(found))
        listed = f"all of them are in {path}"
    except WriteError as error:  # the files are still to be named
        listed = f"not listed in a file: {str(error).rstrip('.')}"
    problems.raise_if_any(f"{what}; {listed}, --skip-bad goes on without such files")


@contextmanager
def _stoppable(tasks: Sequence[BlockTask], benchmark: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the processes in order; says how far it came."""
    with exit_on_sigterm():
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            done = sum(len(task.files) for task in tasks if task.path.exists())
            log.warning(
                "%s: %s of %s files are done; the same command goes on from there.",
                benchmark,
                f"{done:,}",
                f"{sum(len(task.files) for task in tasks):,}",
            )
            raise


def _convert(
    tasks: Sequence[BlockTask], listing: Listing, benchmark: str, workers: int
) -> list[list[Outcome]]:
    """Makes the blocks that are not there yet; the outcomes of all, in order."""
    folder = tasks[0].path.parent if tasks else None
    if folder is None:
        return []
    with write_errors(folder, 0):
        folder.mkdir(exist_ok=True)
    wanted, found = {task.path for task in tasks}, set(folder.iterdir())
    for path in found - wanted:  # of other files, another preset, or half written
        path.unlink()
    there = [number for number, task in enumerate(tasks) if task.path in found]
    outcomes = {}
    for number in tqdm(there, desc=f"{benchmark}: verifying", unit="block", disable=not there):
        if block := read_block(tasks[number]):
            outcomes[number] = block.outcomes
    missing = [number for number in range(len(tasks)) if number not in outcomes]
    done = sum(map(len, outcomes.values()))
    if done:
        log.info("%s: %d of %d files were done before.", benchmark, done, len(listing.files))
    todo = [tasks[number] for number in missing]
    with (
        tqdm(total=len(listing.files), initial=done, desc=benchmark, unit="file") as bar,
        closing(convert_blocks(todo, listing.sources, workers=workers)) as blocks,
    ):
        for position, new in blocks:
            outcomes[missing[position]] = new
            bar.update(len(new))
    return [outcomes[number] for number in range(len(tasks))]


def _clips(tasks: Sequence[BlockTask], benchmark: str) -> Iterator[ClipRecord]:
    """The clips of all blocks, one block in memory at a time."""
    for task in tqdm(tasks, desc=f"{benchmark}: writing", unit="block"):
        block, start = read_block(task), 0
        if block is None:
            raise UserError(f"{task.path} was damaged meanwhile. The same command makes it again.")
        for outcome in block.outcomes:
            end = start + outcome.size
            if outcome.size:
                name = parse_name(outcome.name)
                data = block.values[start:end].reshape(outcome.frames, outcome.persons, 25, 3)
                yield ClipRecord(
                    sample_id=outcome.name,
                    label=name.label,
                    data=data,
                    splits=name.splits(benchmark),
                    extra=name.columns(),
                    keep_empty=True,
                )
            start = end
