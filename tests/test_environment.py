"""One environment, said four times: pyproject, constraints, environment.yml and Makefile agree."""

import ast
import re
import sys
import tomllib
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11.0"


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    """Canonical name -> version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.fixture(scope="module")
def requirements(project: dict) -> list[Requirement]:
    """Dependencies and those of every extra."""
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in sum(extras, project["dependencies"])]


def test_constraints_are_exact_sorted_and_without_build_suffix() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = [line.split("==")[0].lower() for line in lines]
    assert names == sorted(set(names))


def test_every_requirement_is_pinned_within_its_range(requirements, pins) -> None:
    for requirement in requirements:
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_torch_is_pinned_to_what_the_tests_ran_with(pins) -> None:
    assert pins["torch"] == Version("2.13.0")


def test_what_the_pinned_packages_need_is_pinned_too(pins) -> None:
    missing = {}
    for name, version in pins.items():
        needs = [
            Requirement(text) for text in metadata_of(name, version).get_all("Requires-Dist", [])
        ]
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                pin = pins.get(canonicalize_name(need.name))
                if pin is None or not need.specifier.contains(pin, prereleases=True):
                    missing[name] = str(need)
    assert missing == {}


def test_the_pins_work_with_the_oldest_python(pins) -> None:
    too_new = {}
    for name, version in pins.items():
        needed = metadata_of(name, version).get("Requires-Python") or ""
        if OLDEST_PYTHON not in SpecifierSet(needed):
            too_new[name] = needed
    assert too_new == {}


def metadata_of(name: str, version: Version) -> Message:
    """Metadata of an installed package; empty where this version of it is not installed."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return Message()
    return found if Version(Version(found["Version"]).public) == version else Message()


def test_environment_yml_gives_what_pyproject_says(project) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[test]"]}
    assert "test" in project["optional-dependencies"]
    conda = {item.name: item.specifier for item in map(Requirement, conda)}
    # Python packages come by pip, with the pins; conda brings only what pip cannot.
    assert set(conda) == {"python", "pip", "git", "make"}
    tested = [text.split()[-1] for text in project["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert [v for v in ("3.10", "3.11", "3.12", "3.13", "3.14") if v in conda["python"]] == tested
    assert all(version in SpecifierSet(project["requires-python"]) for version in tested)


def test_make_installs_what_environment_yml_installs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "pip install --disable-pip-version-check -c constraints.txt -e '.[test]'" in makefile
    assert "$(STAMP): pyproject.toml constraints.txt\n" in makefile


def test_oldest_python_is_the_one_pyproject_asks_for(project) -> None:
    assert project["requires-python"] == f">={OLDEST_PYTHON.rpartition('.')[0]}"


def test_every_imported_package_is_a_requirement(package_sources, requirements) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in requirements}
    homes = metadata.packages_distributions()
    undeclared = {}
    for module, source in package_sources.items():
        for name in imported_packages(source) - set(sys.stdlib_module_names):
            if name in ("frcore", "frviz"):
                continue
            if not declared & {canonicalize_name(home) for home in homes.get(name, [name])}:
                undeclared[module] = name
    assert undeclared == {}


def imported_packages(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    plain = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain | from_ if name}
