"""Documents of controllers beside the people's file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, load
from gateway.config.documents import Part, merge, parse

FILE = """
inference_services: {}
backends: {iris: {target: {deployment: iris, port: 8000}}}
routes: [{name: iris, hosts: [iris.example.com], split: {iris: 1}}]
"""


def text(name: str = "rose", *, host: str = "", deployment: str = "") -> str:
    return (
        f"backends: {{{name}: {{target: {{deployment: {deployment or name}, namespace: models, port: 8000}}}}}}\n"
        f"routes: [{{name: {name}, hosts: [{host or name}.example.com], split: {{{name}: 1}}}}]\n"
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("file") / "tidegate.yaml"
    path.write_text(FILE)
    return load(path)


def test_what_a_document_names_is_there_as_if_it_stood_in_the_file(config: Config) -> None:
    """Behind what the file has."""
    merged, problems = merge(config, [parse("configmap t/a", text())])
    assert (list(merged.backends), [route.name for route in merged.routes]) == (
        ["iris", "rose"],
        ["iris", "rose"],
    )
    assert not problems
    assert merged.digest == config.digest


@pytest.mark.parametrize(
    ("wants", "words"),
    [
        (
            text("iris", host="a", deployment="a"),
            ["backend 'iris' belongs to FILE", "route 'iris' belongs to FILE"],
        ),
        (text(host="iris"), ["/ on host iris.example.com belongs to FILE"]),
    ],
)
def test_the_file_has_what_it_names(config: Config, wants: str, words: list[str]) -> None:
    """A document that wants it is left out as a whole, and told with both names."""
    merged, problems = merge(config, [parse("configmap t/a", wants), parse("configmap t/b", text("tulip"))])
    expected = [f"configmap t/a: {each}".replace("FILE", str(config.path)) for each in words]
    assert [str(problem) for problem in problems] == expected
    assert list(merged.backends) == ["iris", "tulip"]


def test_of_two_documents_the_first_has_it(config: Config) -> None:
    """An object that is scaled belongs to one, too."""
    parts = [
        parse("configmap t/a", text("a", deployment="x")),
        parse("configmap t/b", text("b", deployment="x")),
    ]
    merged, problems = merge(config, parts)
    assert list(merged.backends) == ["iris", "a"]
    assert [str(each) for each in problems] == ["configmap t/b: Deployment 'x' belongs to configmap t/a"]


@pytest.mark.parametrize(
    ("wants", "words"),
    [
        ("backends: [", "configmap t/a:1: not YAML"),
        ("[]", "configmap t/a: must be a mapping with `backends` and `routes`"),
        ("listen: 0.0.0.0:80", "configmap t/a:1: unknown key 'listen'"),
        ("routes: [{name: a, split: {iris: 1}}]", "configmap t/a:1 routes[0].split: unknown backend 'iris'"),
        (
            "backends: {a: {target: {command: [x, '{port}']}}}",
            "configmap t/a:1 backends.a.target.command: only the file",
        ),
        (
            text().replace("split:", "sticky: {cookie: {name: c, secret_file: /etc/passwd}}, split:"),
            "configmap t/a:2 routes[0].sticky.cookie.secret_file: only the file",
        ),
        (
            text().replace(
                "deployment: rose, namespace: models, port: 8000", "urls: [https://h:1], tls: {ca: /ca.pem}"
            ),
            "configmap t/a:1 backends.rose.target.tls.ca: only the file",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(wants: str, words: str) -> None:
    """A document cannot lead to a Backend of the file, nor run programs."""
    with pytest.raises(ConfigError) as failure:
        parse("configmap t/a", wants)
    assert str(failure.value).startswith(words)


def test_an_empty_one_is_nothing() -> None:
    """As of an InferenceService that has nothing to lead to."""
    assert parse("configmap t/a", "{}") == Part("configmap t/a")
    assert parse("configmap t/a", "backends: {}\nroutes: []\n").routes == ()


NAMES = st.lists(st.sampled_from(["iris", "a", "b", "c"]), max_size=6)


@given(NAMES, st.sampled_from(["iris", "a", "b"]))
def test_the_file_always_wins_and_one_document_changes_nothing_for_others(
    names: list[str], other: str
) -> None:
    """Whatever else comes: what the file has stays as it was, and leaving one out that clashes makes no difference."""
    config = Config.model_construct(**LOADED)
    parts = [parse(f"configmap t/{number}", text(name)) for number, name in enumerate(names)]
    merged, problems = merge(config, parts)
    assert merged.backends["iris"] is config.backends["iris"]
    assert merged.routes[: len(config.routes)] == config.routes
    left_out = {problem.file for problem in problems}
    again, none = merge(config, [part for part in parts if part.source not in left_out])
    assert (again.backends, again.routes, none) == (merged.backends, merged.routes, [])
    assert len(merged.backends) == len({"iris", *names})
    assert (
        merge(config, [*parts, parse("configmap t/last", text(other))])[0].backends.items()
        >= merged.backends.items()
    )


LOADED: dict[str, object] = {}


@pytest.fixture(autouse=True, scope="module")
def _loaded(config: Config) -> None:
    LOADED.update(dict(config))
