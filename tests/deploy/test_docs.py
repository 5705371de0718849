"""The pages on Kubernetes name what is there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from autoscaler.decision import Rule
from gateway.backend import Backend, Limits
from gateway.state import backend_view
from tests.deploy.manifests import DEPLOY, OVERLAYS, ROOT

PAGES = [ROOT / "docs/kubernetes.md", ROOT / "docs/autoscaling.md", DEPLOY / "README.md"]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pages
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    """Folders that commands apply, and links to other pages."""
    text = page.read_text()
    named = [ROOT / path.rstrip(".") for path in re.findall(r"(?<![\w/])deploy/[\w./-]+", text)]
    linked = [page.parent / link.partition("#")[0] for link in re.findall(r"\]\((?!http)([^)]+)\)", text)]
    assert named
    assert [str(path) for path in [*named, *linked] if not path.exists()] == []


def test_every_part_is_told_of() -> None:
    """In the page on what is in deploy/."""
    text = (DEPLOY / "README.md").read_text()
    parts = [*OVERLAYS, *(DEPLOY / "components").iterdir()]
    assert [part.name for part in parts if f"`{part.name}`" not in text] == []


OPERATIONS = (ROOT / "docs/operations.md").read_text()


def test_every_rule_of_a_decision_is_explained() -> None:
    """Under the name that /v1/decisions gives it."""
    rows = re.findall(r"^\| (`.*?) \|", OPERATIONS.partition("| `rule` | what it means |")[2], re.MULTILINE)
    explained = {rule for row in rows for rule in re.findall(r"`(\w+)`", row)}
    assert explained == set(get_args(Rule))


def test_every_key_of_the_state_is_explained() -> None:
    """Those of a backend, which are the most."""
    text = OPERATIONS.partition("| of a backend | what |")[2].partition("\n\n")[0]
    assert [
        key for key in backend_view(Backend("iris", Limits(), 0.0), None, 0.0) if f"`{key}`" not in text
    ] == []
