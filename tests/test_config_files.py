"""Every file in config/ and below loads, and shows what its comments promise."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.config import check_role, json_schema, load
from gateway.config.yamltree import compose

FOLDER = Path(__file__).parent.parent / "config"
FILES = sorted(FOLDER.rglob("*.yaml"))


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_fits_the_schema_that_editors_get(path: Path) -> None:
    """The schema is checked as well: its patterns are ECMA's, in which Python's anchors mean nothing."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    tree, _ = compose(path.read_text())  # YAML 1.2, as editors read it: for PyYAML the key `on` is true
    assert tree is not None
    errors = jsonschema.Draft202012Validator(schema).iter_errors(tree.plain())
    assert [error.message for error in errors] == []
    assert "\\\\z" not in json.dumps(schema)


def test_the_page_on_routing_leads_to_every_example() -> None:
    """An example that no page names is one that nobody finds."""
    page = (FOLDER.parent / "docs/routing.md").read_text()
    examples = {path.name for path in (FOLDER / "examples").glob("*.yaml")}
    assert set(re.findall(r"\]\(\.\./config/examples/([^)]+)\)", page)) == examples


def test_the_schema_finds_mistakes() -> None:
    """An unknown key, a name that is none, a list where a mapping belongs."""
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors({"backends": {"a b": {"target": []}}, "routes": [], "rotes": []}))


def test_the_example_names_every_key() -> None:
    """A key that is not shown is a key that nobody finds."""
    text = (FOLDER / "example.yaml").read_text()
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}
    assert {key for key in keys if f"{key}:" not in text} == set()


PAGE = FOLDER.parent / "docs/autoscaling.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_what_the_page_on_autoscaling_shows_can_be_used(number: int, tmp_path: Path) -> None:
    """A whole file's sections, one backend's `scale`, or one of its metrics."""
    example: Any = yaml.safe_load(EXAMPLES[number])
    if isinstance(example, list):
        example = {"scale": {"metrics": example}}
    document = {"backends": {"llama": example}} if "scale" in example else example
    document["backends"]["llama"]["target"] = {"urls": ["http://127.0.0.1:9001"]}
    path = tmp_path / "tidegate.yaml"
    path.write_text(yaml.safe_dump({**document, "routes": [{"name": "all", "split": {"llama": 1}}]}))
    assert "llama" in load(path).backends
