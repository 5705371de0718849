"""What holds for the modules that `make compiled` turns into machine code, and holds trivially for their sources."""

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
HOOK = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"][
    "hooks"
]["mypyc"]
MODULES = [path.removesuffix(".py").strip("/").replace("/", ".") for path in HOOK["include"]]


@pytest.mark.parametrize("name", MODULES)
def test_no_compiled_class_is_generic(name: str) -> None:
    """Of such a class mypyc's garbage collection counts weak references twice, which frees what is still in use."""
    module = importlib.import_module(name)
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == name]
    assert not [
        each
        for each in classes
        if hasattr(each, "__parameters__") and not getattr(each, "_is_protocol", False)
    ]


def test_all_compiled_modules_are_compiled_or_none() -> None:
    """Half of them would be a stale build."""
    files = [str(importlib.import_module(name).__file__) for name in MODULES]
    assert len({file.endswith(".py") for file in files}) == 1
