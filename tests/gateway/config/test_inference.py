"""The section `inference_services`: its defaults, what it refuses, and what may be left out beside it."""

from collections.abc import Callable

import pytest

from gateway.config import Config


def test_the_empty_section_turns_it_on_with_every_default(loaded: Callable[[str], Config]) -> None:
    """`{}` is all that a person needs to write."""
    section = loaded("inference_services: {}").inference_services
    assert section is not None
    assert (section.owned, section.domain, section.url_scheme) == ("annotated", "example.com", "http")
    assert section.storage_initializer.image == "kserve/storage-initializer:latest"
    assert (section.storage_initializer.command, section.storage_initializer.args) == ((), None)
    assert (section.gateway_host, section.namespaces) == ("tidegate.tidegate.svc.cluster.local", ())


def test_left_out_it_is_off(loaded: Callable[[str], Config]) -> None:
    """Nobody looks for InferenceServices unless told to."""
    config = loaded("")
    assert config.inference_services is None
    assert not config.needs_cluster


@pytest.mark.parametrize("text", ["", "backends: {}\nroutes: []"])
def test_with_it_there_need_be_neither_backends_nor_routes(
    write: Callable[[str], object], loaded: Callable[[str], Config], text: str
) -> None:
    """All that is served may come from InferenceServices."""
    del write
    config = loaded(f"# backends: routes:\ninference_services: {{}}\n{text}")
    assert (dict(config.backends), config.routes, config.needs_cluster) == ({}, (), True)


def test_without_it_there_must_be_something_to_serve(refused: Callable[[str], list[str]]) -> None:
    """A file that was emptied while Tidegate runs is a slip."""
    told = "must not be empty: there would be nothing left to serve"
    assert refused("backends: {}\nroutes: []") == [f"x.yaml:1 backends: {told}", f"x.yaml:2 routes: {told}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("owned: mine", ".owned: must be 'annotated' or 'all', got 'mine'"),
        ("domain: -x", ".domain: "),
        ("namespaces: [A]", ".namespaces[0]: "),
        ("runtimes: []", ": unknown key 'runtimes'"),
    ],
)
def test_what_it_does_not_take_is_told(refused: Callable[[str], list[str]], text: str, told: str) -> None:
    """With the place, and once."""
    (line,) = refused(f"inference_services: {{{text}}}")
    assert line.startswith(f"x.yaml:1 inference_services{told}")


def test_names_of_kubernetes_fit_into_one_of_ours(loaded: Callable[[str], Config]) -> None:
    """NAMESPACE.NAME, each as long as the API server takes it."""
    name = f"{'n' * 63}.{'d' * 63}"
    config = loaded(
        f"backends: {{{name}: {{target: {{deployment: d, port: 80}}}}}}\n"
        f"routes: [{{name: {name}, split: {{{name}: 1}}}}]"
    )
    assert list(config.backends) == [name]
