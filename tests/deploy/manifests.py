"""Where the manifests are, and the installations that tests look at as a whole."""

from pathlib import Path

from tests.deploy.kustomize import Object, build, combine

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATIONS = sorted(
    path.parent for path in DEPLOY.rglob("kustomization.yaml") if "components" not in path.parts
)
OVERLAYS = [folder for folder in KUSTOMIZATIONS if folder.parent.name == "overlays"]
EXAMPLES = [folder for folder in KUSTOMIZATIONS if folder.parent.name == "examples"]
NOT_MANIFESTS = {DEPLOY / "examples/hpa/prometheus-adapter-values.yaml"}


def name(path: Path) -> str:
    """For a test's id."""
    return str(path.relative_to(DEPLOY))


def installed(folder: Path) -> list[Object]:
    """What there is once `folder` was applied; an example goes on top of the usual choice."""
    default = DEPLOY / "overlays/default"
    return build(folder) if folder in OVERLAYS else combine(build(default), build(folder))
