"""The section of the configuration, in the controller's words."""

from pathlib import Path

from autoscaler.cluster.inference.terms import Terms, terms_of
from autoscaler.inference.shapes import Settings, StorageInitializer
from gateway.config import load

FILE = """
backends: {iris: {target: {urls: [http://127.0.0.1:9001]}}}
routes: [{name: iris, split: {iris: 1}}]
"""


def terms(folder: Path, section: str) -> Terms | None:
    path = folder / "tidegate.yaml"
    path.write_text(f"{FILE}{section}\n")
    return terms_of(load(path))


def test_without_the_section_nobody_looks(tmp_path: Path) -> None:
    """An empty one is enough."""
    assert terms(tmp_path, "") is None
    gateways = "tidegate.tidegate.svc.cluster.local"
    assert terms(tmp_path, "inference_services: {}") == Terms(Settings(gateway_host=gateways))


def test_all_of_it_is_taken_over(tmp_path: Path) -> None:
    """None of the gateways' Service is said by a word."""
    section = (
        "inference_services: {owned: all, domain: models.example.org, url_scheme: https, gateway_host: none, namespaces: [a, b], "
        "storage_initializer: {image: 'fetch:1', command: [fetch], args: ['{uri}'], credentials: none}}"
    )
    fetching = StorageInitializer("fetch:1", ("fetch",), ("{uri}",), credentials=False)
    settings = Settings("models.example.org", "https", fetching, "")
    assert terms(tmp_path, section) == Terms(settings, everything=True, namespaces=("a", "b"))
