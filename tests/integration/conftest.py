"""TLS on both sides, for tests over real sockets."""

from pathlib import Path

import pytest

from gateway.tls import Doorkeeper, Trust, load_pair, load_trust
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def door(authority: Authority, tmp_path: Path) -> Doorkeeper:
    """What lets clients in, with a certificate for this machine."""
    return Doorkeeper(load_pair(*authority.issue(tmp_path)), "1.2")


@pytest.fixture
def trust(authority: Authority, tmp_path: Path) -> Trust:
    """What pods with certificates of the authority are held to."""
    return Trust("test", None, load_trust(authority.write(tmp_path, "pods-ca.crt"), verify=True))


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> Path:
    return authority.write(tmp_path)
