"""Two-dimensional layouts of features: PCA, t-SNE, UMAP, PaCMAP; kept by content.

Features are L2-normalised (the classifier and FR Head compare directions), then reduced to 50
principal components.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from frcore.display import SILENT
from frcore.errors import UserError, unknown_name
from frcore.files import atomic_write
from frcore.predictions import Predictions

log = logging.getLogger(__name__)

Method = Literal["auto", "tsne", "umap", "pacmap", "pca"]
METHODS = ("auto", "tsne", "umap", "pacmap", "pca")
LIBRARIES = {"tsne": "openTSNE", "umap": "umap-learn", "pacmap": "pacmap", "pca": "scikit-learn"}
COMPONENTS = 50
AUTO_TSNE_UP_TO = 20_000  # points; beyond, UMAP is several times faster
FEWEST = 10  # points that t-SNE and UMAP need


def choose_method(method: str, points: int) -> str:
    """The method that "auto" stands for, by the number of points.

    Raises:
        UserError: an unknown one, or PaCMAP where it is not installed.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if method == "pacmap" and not importlib.util.find_spec("pacmap"):
        raise UserError("PaCMAP is an extra: pip install 'frcore[pacmap]'.")
    if points < FEWEST:
        return "pca"
    if method == "auto":
        return "tsne" if points <= AUTO_TSNE_UP_TO else "umap"
    return method


def directions(features: np.ndarray) -> np.ndarray:
    """(N, D) float32 rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)


def content_of(predictions: Predictions, space: str) -> str:
    """A name for the content of a space."""
    data = np.ascontiguousarray(predictions.features[space])
    return hashlib.sha256(data).hexdigest()[:16]


def lay_out(
    features: np.ndarray, *, method: str, seed: int, start: np.ndarray | None = None
) -> np.ndarray:
    """(N, 2) float64 positions of features (N, D), centred, with root mean square length 1.

    Args:
        features: as they are; normalised here.
        method: a name from `choose_method`.
        seed: of everything random. UMAP is single-threaded with a seed: reproducible and slower.
        start: (N, 2) positions to start from, so that two layouts can be compared.
    """
    features = directions(features)
    file = _cache_file(features, method, seed, start)
    positions = _load(file, len(features))
    if positions is None:
        reduced = _principal(features)
        start = None if start is None else np.asarray(start, dtype=np.float64)
        positions = _normalised({"pca": _pca, "tsne": _tsne, "umap": _umap, "pacmap": _pacmap}[
            method
        ](reduced, seed, start))  # fmt: skip
        _keep(file, positions)
    return positions


def _principal(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    count = min(COMPONENTS, *features.shape)
    if count < 1 or (features == features[0]).all():
        return np.zeros((len(features), 2))
    # Of the covariance: exact, deterministic, and fast where N is much larger than D
    return PCA(count, svd_solver="covariance_eigh").fit_transform(features.astype(np.float64))


def _pca(reduced: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    if reduced.shape[1] == 1:
        reduced = np.column_stack([reduced, np.zeros(len(reduced))])
    reduced = reduced[:, :2]
    if start is not None:  # components have no direction of their own: turned to fit
        from scipy.linalg import orthogonal_procrustes

        reduced = reduced @ orthogonal_procrustes(reduced, start)[0]
    return reduced


def _tsne(reduced: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    import openTSNE

    rounds = 750  # openTSNE's own: 250 with early exaggeration, 500 without
    silent = SILENT.get()
    with tqdm(total=rounds, desc="t-SNE", unit="it", leave=False, disable=silent) as bar:
        return np.asarray(
            openTSNE.TSNE(
                perplexity=min(30, (len(reduced) - 1) / 3),
                initialization="pca" if start is None else openTSNE.initialization.rescale(start),
                random_state=seed,
                n_jobs=_threads(len(reduced)),
                # what "auto" would choose, without saying so on stdout
                negative_gradient_method="bh" if len(reduced) < 10_000 else "fft",
                callbacks=lambda *_: bar.update(10) and None,
                callbacks_every_iters=10,
            ).fit(reduced)
        )


def _threads(points: int) -> int:
    """One for few points: threads that wait for each other cost more than they bring."""
    if points < 5_000:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() and int(limit) else os.cpu_count() or 1


def _umap(reduced: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="umap")  # n_jobs, by a seed
        import umap

        return umap.UMAP(
            n_neighbors=min(15, len(reduced) - 1),
            init="pca" if start is None else (10 * _normalised(start)).astype(np.float32),
            random_state=seed,
            n_jobs=1,
            tqdm_kwds={"desc": "UMAP", "disable": SILENT.get(), "leave": False},
        ).fit_transform(reduced.astype(np.float32))


def _pacmap(reduced: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    import pacmap

    model = pacmap.PaCMAP(n_components=2, random_state=seed, apply_pca=False)
    return model.fit_transform(reduced.astype(np.float32), init="pca" if start is None else start)


def _normalised(positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=np.float64)
    positions = positions - positions.mean(axis=0) if len(positions) else positions
    scale = np.sqrt((positions**2).sum(axis=1).mean()) if len(positions) else 0
    return positions / scale if scale > 0 else positions


def cache_folder() -> Path:
    """Where layouts are kept: $FRVIZ_CACHE, or the user's cache folder."""
    import pooch

    return Path(os.environ.get("FRVIZ_CACHE") or pooch.os_cache("frviz"))


def _cache_file(features: np.ndarray, method: str, seed: int, start: np.ndarray | None) -> Path:
    digest = hashlib.sha256(np.ascontiguousarray(features).tobytes())
    digest.update(b"" if start is None else np.ascontiguousarray(start, np.float64).tobytes())
    version = importlib.metadata.version(LIBRARIES[method])
    about: Any = (features.shape, method, version, seed, start is None, COMPONENTS, "layout 2")
    digest.update(json.dumps(about).encode())
    return cache_folder() / f"{method}-{digest.hexdigest()[:24]}.layout"


def _load(file: Path, points: int) -> np.ndarray | None:
    """Kept positions; None where there are none, or damaged ones: they are made again."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, values = content[:32], content[32:]
    if hashlib.sha256(values).digest() != digest or len(values) != points * 16:
        return None
    return np.frombuffer(values, "<f8").reshape(points, 2)


def _keep(file: Path, positions: np.ndarray) -> None:
    values = positions.astype("<f8").tobytes()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, hashlib.sha256(values).digest() + values)
    except (OSError, UserError) as error:
        log.warning("The layout is not kept: %s", error)
