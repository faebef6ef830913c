"""Recipe files: plain YAML that ships with the package or lies anywhere, and extends others.

Only mappings of plain values come out; `config` checks what they say.
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from frcore.config_errors import ConfigError
from frcore.errors import unknown_name

_FILE_ENDINGS = (".yaml", ".yml", ".json")  # JSON: a run's config.json
_MAX_DEPTH = 50  # of values in values; a configuration has 4


def recipe_names() -> list[str]:
    """Names of the recipes that come with frcore, sorted."""
    files = resources.files("frcore.recipes").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def list_recipes() -> dict[str, str]:
    """Name -> one-line description of every recipe that comes with frcore."""
    return {name: read_recipe(name).get("description", "") for name in recipe_names()}


def read_recipe(recipe: str | Path, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe over those of the recipes that it extends."""
    text, seen = _recipe_text(recipe), (*seen, str(recipe))
    if str(recipe) in seen[:-1]:
        raise ConfigError(f"Recipes extend each other in a circle: {' -> '.join(seen)}.")
    try:
        fields = _PlainYaml(text).get_single_data()
    except Exception as error:  # of YAML, and of what makes numbers and dates: "2001-13-40"
        raise ConfigError(f"{recipe} is not plain YAML: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{recipe} must hold a mapping of keys, not {type(fields).__name__}.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(recipe).stem)
    fields.setdefault("name", name.lstrip("_.-")[:100] or "run")
    return extend(fields, Path(recipe).parent, seen)


def extend(fields: Mapping[str, Any], folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """`fields` over those of the recipe that they extend; a file's path counts from `folder`."""
    own = {key: value for key, value in fields.items() if key != "extends"}
    base = fields.get("extends")
    if not base:
        return own
    is_file = str(base).endswith(_FILE_ENDINGS) and "\0" not in str(base)
    return merge(read_recipe((folder / base).resolve() if is_file else base, seen), own)


class _PlainYaml(yaml.SafeLoader):
    """YAML of plain values, each written where it belongs.

    A key may stand once: of two, YAML would silently take the last. No value is an alias (`*x`) of
    another one: a few lines of them stand for more values than a memory holds.
    """

    _depth = 0  # of the value being read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._problem("an alias (*) stands there; write the value itself")
        if self._depth == _MAX_DEPTH:
            raise self._problem(f"values lie in more than {_MAX_DEPTH} others")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _problem(self, what: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=what, problem_mark=self.peek_event().start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise yaml.MarkedYAMLError(
                problem=f"{', '.join(map(str, twice))} stands there twice",
                problem_mark=node.start_mark,
            )
        return super().construct_mapping(node, deep)


def _recipe_text(recipe: str | Path) -> str:
    if str(recipe).endswith(_FILE_ENDINGS):
        path = Path(recipe)
        if not path.is_file():
            raise ConfigError(f"No configuration file at '{path}'.")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as text: {error}.") from None
    names = recipe_names()
    if recipe not in names:
        raise unknown_name("recipe", recipe, names, listed_by="frcore recipes")
    return resources.files("frcore.recipes").joinpath(f"{recipe}.yaml").read_text(encoding="utf-8")


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"optim.lr": 1}` as `{"optim": {"lr": 1}}`; nested mappings pass through."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        value = nest(value) if isinstance(value, Mapping) else value
        for part in reversed(str(key).split(".")):
            value = {part: value}
        nested = merge(nested, value)
    return nested


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
