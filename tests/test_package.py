"""The package as a whole: what importing it costs, and that its documented shape is true."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import cocom
import cocom.errors
import langchain_cocom
import llamaindex_cocom

IMPORT = """
import json, sys, time
start = time.perf_counter()
import cocom
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def run_import() -> tuple[float, set[str]]:
    """Import cocom in a fresh interpreter; return the seconds it took and the loaded modules."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=60
    )
    report = json.loads(done.stdout)
    return report["seconds"], set(report["modules"])


def test_import_is_quick() -> None:
    # The best of a few, because another program may hold the processor.
    assert min(run_import()[0] for _ in range(3)) < 0.5


@pytest.mark.parametrize("heavy", ["torch", "transformers", "peft", "numpy", "huggingface_hub"])
def test_import_loads_nothing_heavy(heavy: str) -> None:
    assert heavy not in run_import()[1]


def test_every_exported_name_exists() -> None:
    for package in (cocom, langchain_cocom, llamaindex_cocom):
        for name in package.__all__:
            assert getattr(package, name) is not None
        assert len(set(package.__all__)) == len(package.__all__)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cocom.no_such_name


def test_distribution_has_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version("cocom"))


@pytest.mark.parametrize("package", [cocom, langchain_cocom, llamaindex_cocom])
def test_package_is_marked_as_typed(package: object) -> None:
    file = inspect.getsourcefile(package)  # type: ignore[arg-type]
    assert file is not None
    assert (Path(file).parent / "py.typed").is_file()


def documented_errors() -> dict[str, tuple[str | None, str]]:
    """Read the tree in the errors module's docstring: name -> (parent, description)."""
    tree: dict[str, tuple[str | None, str]] = {}
    ancestors: list[tuple[int, str]] = []
    for line in inspect.getdoc(cocom.errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"^([│├└─\s]*)(\w+Error)\b\s*(.*)$", line)
        if found is None:
            continue
        depth = len(found[1])
        while ancestors and ancestors[-1][0] >= depth:
            ancestors.pop()
        tree[found[2]] = (ancestors[-1][1] if ancestors else None, found[3])
        ancestors.append((depth, found[2]))
    return tree


def test_error_tree_in_the_docstring_is_the_real_one() -> None:
    classes = {
        name: error
        for name, error in vars(cocom.errors).items()
        if inspect.isclass(error) and error.__module__ == cocom.errors.__name__
    }
    real = {
        name: error.__bases__[0].__name__ if error.__bases__[0] is not Exception else None
        for name, error in classes.items()
    }
    documented = documented_errors()
    assert {name: parent for name, (parent, _) in documented.items()} == real
    assert sorted(cocom.errors.__all__) == sorted(real)
    for name, (_, description) in documented.items():
        for builtin in re.findall(r"also an? (\w+Error)", description):
            assert builtin in {base.__name__ for base in classes[name].__mro__}


def test_missing_extra_names_the_command() -> None:
    with pytest.raises(ImportError, match=r"pip install 'cocom\[eval\]'"):
        raise cocom.errors.MissingExtraError("rouge-score", "eval", "ROUGE-L")
