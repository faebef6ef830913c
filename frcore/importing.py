"""Published weights as a checkpoint of ours, which `predict` and frviz take like any other."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcore.checkpoint import BEST, LAST, PREVIOUS, CheckpointError, read_metadata, save_checkpoint
from frcore.config import RunConfig, load_recipe
from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import open_store
from frcore.errors import UserError
from frcore.files import check_writable, make_folder_of
from frcore.published import Published, read_published
from frcore.recipe_files import recipe_names
from frcore.recognizer import check_model, checkpoint_metadata

_SECTIONS = ("data", "model", "train")  # of a configuration, that matter to what is not trained


@dataclass(frozen=True)
class ImportedWeights:
    """What was written, and what was assumed of it; as text for people."""

    path: Path
    source: str  # the weights' file and its digest
    config: RunConfig
    benchmark: Benchmark
    recipe: str | None  # that the preprocessing comes from
    published: Published

    def __str__(self) -> str:
        translation = self.published.translation
        name = self.benchmark.name
        lines = [f"{self.path}: {self.config.model_name} for {name}, from {self.source}."]
        lines += [f"Used {len(translation.used):,} keys, all that the network has."]
        lines += translation.ignored_by_reason()
        origin = f"recipe {self.recipe}" if self.recipe else "defaults; no recipe is for it"
        lines += [
            f"Weights do not say what clips they were trained on. Assumed ({origin}), "
            "to be changed with --set:"
        ]
        lines += [f"  {key}={value}" for key, value in self._assumed().items()]
        return "\n".join(lines)

    def _assumed(self) -> dict[str, Any]:
        """The values of the configuration that decide what the model sees."""
        data, record = self.config.data, self.benchmark
        transform = data.transform.with_frames(record.num_frames)
        assumed = {
            "data.protocol": data.protocol or record.protocols[0],
            "data.stream": data.stream,
            "data.persons": data.persons or record.num_persons,
            "data.transform.frames": transform.frames,
            "data.transform.sampling": transform.sampling,
            "data.transform.normalize": transform.normalize,
            "data.transform.center": str(transform.center).lower(),
        }
        overrides = self.config.model.overrides.items()
        return assumed | {f"model.overrides.{key}": value for key, value in overrides}


def import_weights(
    weights: str | Path,
    out: str | Path,
    *,
    backbone: str,
    benchmark: str,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> ImportedWeights:
    """Writes published weights as a checkpoint that `frcore.predict` and `frviz.compare` take.

    Sizes come from the benchmark, preprocessing from a recipe. Precision is fp32, and training
    clips that copy test clips count as trained on (`data.duplicates=keep`), as is published.

    Args:
        weights: the file (see `from_published`).
        out: the checkpoint to write, ending in .safetensors.
        backbone: "stgcn", "aagcn", "ctrgcn", "tcagcn" or "hdgcn".
        benchmark: whose store is here.
        recipe: whose data section to use; by default that of the benchmark's joint stream.
        changes: values of the configuration, such as `{"data.transform.frames": 64}`.

    Raises:
        UserError: no store of the benchmark, weights that do not fit, a mistake in the changes, or
            something else in the place of `out`.
    """
    source, out = Path(weights), Path(out)
    _check_out(out)
    check_writable(out)
    store = open_store(benchmark)
    record = store.benchmark
    recipe = recipe or _recipe_of(benchmark, record.protocols[0])
    config = _config(out.stem, benchmark, backbone, recipe, changes or {})
    store.protocol(config.data.protocol)
    check_model(config, record)
    data = config.data
    arguments = {
        "num_persons": data.persons or record.num_persons,
        "num_frames": data.transform.frames or record.num_frames,
        "in_channels": record.channels,
        **config.model.overrides,
    }
    published = read_published(backbone, source, record.skeleton, record.num_classes, arguments)
    config = load_recipe(config, {"model.overrides": published.overrides})
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    named = f"{source.name} (imported, sha256 {digest[:12]})"
    metadata = checkpoint_metadata(config, record, store.fingerprint) | {
        "model": f"{config.model_name} (imported)",
        "imported": {"source": named, "file": source.name, "sha256": digest},
    }
    del metadata["select"]  # by what the epoch was chosen is not known
    tensors = {f"model.{k}": t for k, t in published.recognizer.state_dict().items()}
    make_folder_of(out)
    save_checkpoint(out, tensors, metadata)
    return ImportedWeights(out, named, config, record, str(recipe) if recipe else None, published)


def _check_out(out: Path) -> None:
    """A name that frviz knows as a checkpoint's, and nothing that was trained in its place."""
    if out.suffix != ".safetensors" or out.name in (LAST, PREVIOUS, BEST):
        raise UserError(
            f"--out {out}: expected a name ending in .safetensors, and none that a run gives its "
            f"own ({LAST}, {PREVIOUS}, {BEST})."
        )
    imported = False
    with contextlib.suppress(CheckpointError):
        imported = "imported" in read_metadata(out)
    if out.exists() and not imported:
        raise UserError(f"{out} is there already and holds no imported weights: choose another.")


def _recipe_of(benchmark: str, protocol: str) -> str | None:
    """The plain joint-stream recipe of a benchmark, if there is one: that of the shortest name.

    One of its default protocol comes before those of others.
    """
    recipes = [load_recipe(name) for name in recipe_names()]
    plain = [r for r in recipes if r.benchmark == benchmark and r.head is None]
    joint = [r for r in plain if r.data.stream == "joint"]
    names = {r.name: (r.data.protocol not in (None, protocol), len(r.name)) for r in joint or plain}
    return min(names, key=names.__getitem__, default=None)


def _config(
    name: str,
    benchmark: str,
    backbone: str,
    recipe: str | Path | None,
    changes: Mapping[str, Any],
) -> RunConfig:
    """A configuration with a recipe's data section, for a model that is not trained here."""
    for key in changes:
        if key.partition(".")[0] not in _SECTIONS or key == "model.backbone":
            raise UserError(
                f"{key} has no say in imported weights. What has: {', '.join(_SECTIONS)}, such as "
                "data.transform.frames=64 or model.overrides.center=1."
            )
    data = load_recipe(recipe).data.model_dump() if recipe else {}
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in name)
    fields = {
        "name": f"imported_{safe}"[:100],
        "benchmark": benchmark,
        "data": {**data, "duplicates": "keep"},
        "model": {"backbone": backbone},
        "train": {"precision": "fp32"},
    }
    return load_recipe(fields, changes)
