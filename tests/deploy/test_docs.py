"""The pages on Kubernetes name what is there."""

import re
from pathlib import Path

import pytest

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
