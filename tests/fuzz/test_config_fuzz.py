"""Whatever a configuration file holds, it loads or is refused in lines that a person can read. Nothing else comes out.

The documented ends: a Config, or a ConfigError with at least one Problem, each of which prints as one line.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend import Backend, Limits
from gateway.config import ConfigError, build_table, check_role, load

pytestmark = pytest.mark.filterwarnings(
    "ignore:Possible (nested|set):FutureWarning"
)  # in regexes that are made up

EXAMPLES = [path.read_text() for path in sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))]
KEYS = sorted(
    {
        word.strip("-{ ")
        for text in EXAMPLES
        for word in text.replace(",", "\n").split(":")[:-1]
        for word in word.split()[-1:]
    }
)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "x.yaml"


def loads_or_says_why(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        config = load(path)
    except ConfigError as error:
        lines = [str(problem) for problem in error.problems]
        assert lines
        assert all(line.startswith(str(path)) and len(line.splitlines()) == 1 for line in lines)
    else:
        build_table(config, {name: Backend(name, Limits(), 0.0) for name in config.backends})
        check_role(config, "up")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["10s", "70%", "/v1", "{port}", "*.a.b", "http://a:1", ":80", "[::1]:1", "1e400", "a", "python"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=15,
)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes(path: Path, content: bytes) -> None:
    """Bytes of no meaning at all."""
    loads_or_says_why(path, content)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_example_with_bytes_changed(path: Path, data: st.DataObject) -> None:
    """An example in which a piece was cut out and another put in."""
    content = data.draw(st.sampled_from(EXAMPLES)).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=5),
            st.sampled_from([b":", b"- ", b"&a ", b"*a ", b"<<: ", b"{", b"[", b"'", b"\n  "]),
        )
    )
    loads_or_says_why(path, content[:start] + piece + content[end:])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_example_with_a_value_changed(path: Path, data: st.DataObject) -> None:
    """An example in which one value, wherever it stands, is another."""
    document = yaml.safe_load(data.draw(st.sampled_from(EXAMPLES)))
    holder, key = data.draw(st.sampled_from(list(places(document))))
    holder[key] = data.draw(values)
    loads_or_says_why(path, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with every key or index in it."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@settings(max_examples=60, deadline=None)
@given(
    document=st.fixed_dictionaries(
        {"backends": values, "routes": values}, optional={"listen": values, "drain": values}
    )
)
def test_any_values_in_the_sections(path: Path, document: dict[str, Any]) -> None:
    """YAML that is sound, with content that is not."""
    loads_or_says_why(path, yaml.safe_dump(document).encode())
