"""Every file in config/ loads, and shows what its comments promise."""

from pathlib import Path

import pytest

from gateway.config import check_role, json_schema, load

FOLDER = Path(__file__).parent.parent / "config"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_examples() -> None:
    """An empty list would make the others pass for nothing."""
    assert {"example.yaml", "canary.yaml", "fixed-urls.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_loads_without_problem_or_warning(path: Path) -> None:
    """As `tidegate check` would tell."""
    config = load(path)
    assert config.warnings == ()
    assert check_role(config, "check") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_runs_as_it_is(path: Path) -> None:
    """Programs and scripts that it names exist."""
    assert check_role(load(path), "up") == []


def test_the_example_names_every_key() -> None:
    """A key that is not shown is a key that nobody finds."""
    text = (FOLDER / "example.yaml").read_text()
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}
    assert {key for key in keys if f"{key}:" not in text} == set()
