"""What is wrong with a configuration, in words: all mistakes, their keys and the nearest right."""

import difflib
import re
import reprlib
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError

from frcore.errors import UserError


class ConfigError(UserError):
    """A configuration with mistakes; the text lists all of them."""


_SYNONYMS = {  # what other toolkits and the paper call a key, for "did you mean"
    "learning_rate": "optim.lr",
    "base_lr": "optim.lr",
    "wd": "optim.weight_decay",
    "steps": "optim.milestones",
    "warmup": "optim.warmup_epochs",
    "batch": "train.batch_size",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "amp": "train.precision",
    "dataset": "benchmark",
    "modality": "data.stream",
    "window_size": "data.transform.frames",
    "width": "model.overrides",
    "w_cl": "head.weight",
    "tau": "head.temperature",
    "alpha": "head.momentum",
}


def report(mistakes: list[str], source: str) -> str:
    """How many mistakes there are in a configuration from `source`, and each on a line."""
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    return f"{count} in {source}:\n" + "\n".join(f"  {line}" for line in mistakes)


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """All mistakes: key path, what is wrong, the nearest known key.

    Args:
        error: of validating `root`.
        root: the model of the whole configuration; sections are models in its fields.
    """
    lines = []
    for item in error.errors(include_url=False):
        path = [str(part) for part in item["loc"]]
        key = ".".join(path) or "the whole"
        if item["type"] == "extra_forbidden":
            known = sorted(_model_at(root, path[:-1]).model_fields)
            near = _near_key(root, path[:-1], path[-1])
            lines.append(f"{key}: unknown key.{near} Known here: {', '.join(known)}.")
        elif item["type"] == "missing":
            lines.append(f"{key}: required, but missing.")
        else:
            shown = reprlib.repr(item["input"])  # short, whatever was given
            given = "" if item["type"] == "value_error" else f", not {shown}"
            said = item["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
            said = re.sub(r"a valid dictionary or instance of \w+", "a mapping of keys", said)
            lines.append(f"{key}: {said}{given}.")
    return lines


def keys_called(word: str, root: type[BaseModel]) -> list[str]:
    """The keys that end in a word, "lr" -> ["optim.lr"], or that others call so."""
    keys = [key for key in _all_keys(root) if key.rpartition(".")[2] == word]
    return keys or [key for name, key in _SYNONYMS.items() if name == word]


def _near_key(root: type[BaseModel], section: list[str], word: str) -> str:
    """ " Did you mean 'x'?": the nearest key, of this section where several are as near."""
    names = {key.rpartition(".")[2]: key for key in _all_keys(root)} | _SYNONYMS
    names |= {name: name for name in _model_at(root, section).model_fields}
    near = difflib.get_close_matches(word, names, n=1)
    if not near:
        return ""
    return f" Did you mean '{names[near[0]].removeprefix('.'.join([*section, '']))}'?"


def _model_at(root: type[BaseModel], section: list[str]) -> type[BaseModel]:
    for name in section:
        root = _submodel(root, name)
    return root


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name in model.model_fields:
        yield prefix + name
        if below := _submodel(model, name):
            yield from _all_keys(below, f"{prefix}{name}.")


def _submodel(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model that a field holds, also as an option ("HeadConfig | None"); None for a value."""
    annotation = model.model_fields[name].annotation
    options = (annotation, *getattr(annotation, "__args__", ()))
    models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
    return models[0] if models else None
