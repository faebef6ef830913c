"""What the finished runs of a sweep say: accuracy over seeds, and whether a change helped."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from frcore.data.benchmarks import Benchmark, ensemble_weights
from frcore.data.store import Store
from frcore.display import SILENT
from frcore.errors import UserError
from frcore.significance import holm, mcnemar_p
from frcore.sweep.plan import Job, Plan
from frcore.sweep.tables import PAPER, Row

OVER_SEEDS, OVER_CLIPS = "t over seeds", "McNemar over clips"


@dataclass(frozen=True)
class Outcome:
    """What one run, or one fusion of runs, said of the test clips."""

    right: pd.Series  # bool by sample id
    copies: frozenset[str]  # test clips whose content is among the training clips
    epoch: int

    def on(self, unseen: bool) -> pd.Series:
        """`right` of all clips, or of those that are no copy of a training clip."""
        return self.right[~self.right.index.isin(self.copies)] if unseen else self.right

    def accuracy(self, unseen: bool = False) -> float:
        """On these clips, %."""
        return 100 * float(self.on(unseen).mean())


def outcomes(plan: Plan, store: Store) -> dict[tuple[str, int], Outcome]:
    """Of every finished run and every fusion whose members are finished, by row and seed."""
    copies = _copies(plan, store)
    found = {
        place: _outcome(job, copies) for place, job in plan.grid.items() if job.state == "finished"
    }
    for row in plan.table.rows:
        for seed in plan.seeds if row.members else ():
            jobs = [plan.grid[name, seed] for name in row.members]
            if all(job.state == "finished" for job in jobs):
                found[row.name, seed] = _fusion(plan, jobs, copies)
    return found


def _copies(plan: Plan, store: Store) -> frozenset[str]:
    data = plan.config.data
    rows = store.copies("test", protocol=data.protocol, val_subjects=data.val_subjects)
    return frozenset(store.samples.loc[rows, "sample_id"])


def selected(metrics: pd.DataFrame, select: str) -> int:
    """Place of the epoch that a run selects."""
    if select == "last":
        return len(metrics) - 1
    return int(metrics[select.replace("_best", "_acc")].argmax())


def _outcome(job: Job, copies: frozenset[str]) -> Outcome:
    metrics, history = job.run.metrics, job.run.history
    if "test_predicted" not in history:
        raise UserError(f"{job.path} has no test clips to judge it by.")
    place = selected(metrics, job.run.select)
    right = history["test_predicted"][place] == history["test_labels"]
    series = pd.Series(right, index=history["test_sample_ids"])
    return Outcome(series, copies, int(metrics["epoch"].iloc[place]))


def _fusion(plan: Plan, jobs: Sequence[Job], copies: frozenset[str]) -> Outcome:
    from frcore.inference import predict
    from frcore.predictions import Predictions

    device = plan.config.train.device
    silent = SILENT.set(True)  # eight bars above a table say nothing
    try:
        members = [predict(job.path, split="test", device=device) for job in jobs]
    finally:
        SILENT.reset(silent)
    fused = Predictions.ensemble(members, weights=fusion_weights(plan))
    series = pd.Series(fused.correct, index=fused.sample_ids)
    return Outcome(series, copies, max(int(m.metadata["epoch"]) for m in members))


def fusion_weights(plan: Plan) -> tuple[float, ...] | None:
    """The published weights of the four streams; None where there are none: all alike."""
    try:
        return ensemble_weights(plan.config.benchmark, plan.protocol)
    except UserError:
        return None


def compare(
    a: dict[int, Outcome], b: dict[int, Outcome], *, unseen: bool = False
) -> dict[str, object]:
    """B against A over the seeds that both have, in points of accuracy.

    Several seeds: Student's t of the differences between runs of the same seed. One: the exact
    McNemar test over clips, which says nothing of other seeds.

    Args:
        a: outcomes by seed.
        b: likewise.
        unseen: of the clips that are no copy of a training clip, instead of all.
    """
    seeds = sorted(a.keys() & b.keys())
    pairs = [(a[seed].on(unseen), b[seed].on(unseen)) for seed in seeds]
    differences = np.array([100 * (right_b.mean() - right_a.mean()) for right_a, right_b in pairs])
    row: dict[str, object] = dict.fromkeys(("difference", "low", "high", "p"), np.nan)
    row |= {"pairs": len(pairs), "test": ""}
    if not pairs:
        return row
    row["difference"] = float(differences.mean())
    if len(pairs) == 1:
        right_a, right_b = pairs[0][0], pairs[0][1].reindex(pairs[0][0].index)
        fixed, broken = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
        return {**row, "p": float(mcnemar_p(fixed, broken)), "test": OVER_CLIPS}
    if np.ptp(differences) > 1e-9:  # all alike: there is no spread to judge by
        test = ttest_1samp(differences, 0.0)
        low, high = test.confidence_interval(0.95)
        row |= {"low": float(low), "high": float(high), "p": float(test.pvalue)}
    return {**row, "test": OVER_SEEDS}


def table_of_rows(
    plan: Plan, found: dict[tuple[str, int], Outcome], parameters: dict[str, float]
) -> pd.DataFrame:
    """A row a row of the paper's table; accuracies and differences in points of percent.

    Returns:
        `model`, `runs` (finished), `accuracy` and `sd` over seeds (NaN for one), `against` (a row)
        and against it `difference`, `low`, `high` (95 %), `p`, `p_holm` (for the number of rows),
        `pairs` (seeds that both have) and `test`. Where test clips are copies of training clips,
        the same of the others: `unseen`, `unseen_sd`, `unseen_difference`, ... `parameters`
        (millions, in training), `paper_parameters` and `paper` (published accuracy, see the notes).
    """
    by_row = {
        row.name: {seed: found[row.name, seed] for seed in plan.seeds if (row.name, seed) in found}
        for row in plan.table.rows
    }
    parts = [False, True] if any(outcome.copies for outcome in found.values()) else [False]
    where = published_where(plan)
    rows = []
    for row in plan.table.rows:
        mine = by_row[row.name]
        line = {"row": row.name, "model": "", "runs": len(mine), "against": row.against or ""}
        if not row.members:
            line["model"] = plan.grid[row.name, plan.seeds[0]].config.model_name
        for unseen in parts:
            line |= _spread([outcome.accuracy(unseen) for outcome in mine.values()], unseen)
            changed = compare(by_row.get(row.against, {}), mine, unseen=unseen)
            line |= {_name(key, unseen): value for key, value in changed.items()}
        line["parameters"] = parameters.get(row.name, np.nan)
        line["paper_parameters"] = np.nan if row.parameters is None else row.parameters
        line["paper"] = row.published.get(where, np.nan)
        rows.append(line)
    table = pd.DataFrame(rows).set_index("row")
    for unseen in parts:
        p = _name("p", unseen)
        table.insert(table.columns.get_loc(p) + 1, _name("p_holm", unseen), holm(table[p]))
    return table.drop(columns=["unseen_test", "unseen_pairs"], errors="ignore")


def _name(column: str, unseen: bool) -> str:
    return f"unseen_{column}" if unseen else column


def _spread(values: list[float], unseen: bool) -> dict[str, float]:
    return {
        "unseen" if unseen else "accuracy": float(np.mean(values)) if values else np.nan,
        _name("sd", unseen): float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
    }


def published_where(plan: Plan) -> str:
    """Which published figures stand beside a sweep: of its own data, else of the paper's tables."""
    own = f"{plan.config.benchmark}/{plan.protocol}"
    return own if any(own in row.published for row in plan.table.rows) else PAPER


def count_parameters(plan: Plan, benchmark: Benchmark) -> dict[str, float]:
    """Millions of parameters in training by row; builds the models without their weights."""
    import torch

    from frcore.recognizer import build_recognizer

    def millions(row: Row) -> float:
        config = plan.grid[row.name, plan.seeds[0]].config
        with torch.device("meta"):
            model = build_recognizer(config, benchmark)
        return sum(p.numel() for p in model.parameters()) / 1e6

    return {row.name: millions(row) for row in plan.table.rows if not row.members}
