"""Files to load: written into a folder of their own, which is the working directory, so that messages name `x.yaml`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load

MINIMAL = """
backends: {a: {target: {urls: [http://127.0.0.1:9001]}}}
routes: [{name: r, split: {a: 1}}]
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    """Put text or bytes into x.yaml."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> Path:
        path = Path("x.yaml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def loaded(write: Callable[[str | bytes], Path]) -> Callable[[str], Config]:
    """Load text, after a minimal configuration's keys unless it has its own."""
    return lambda text: load(write(text + "".join(f"\n{line}" for line in _missing(text))))


@pytest.fixture
def refused(write: Callable[[str | bytes], Path]) -> Callable[[str | bytes], list[str]]:
    """The lines with which text is refused, after the same completion."""

    def refused(content: str | bytes) -> list[str]:
        if isinstance(content, str):
            content += "".join(f"\n{line}" for line in _missing(content))
        with pytest.raises(ConfigError) as caught:
            load(write(content))
        return str(caught.value).splitlines()

    return refused


def _missing(text: str) -> list[str]:
    return [line for line in MINIMAL.split("\n") if line and line.split(":")[0] + ":" not in text]
