"""What a lost connection tells of its last request; the kernel's own answers are asked for in tests/integration/test_retries.py."""

import struct
import sys
from typing import Any

import pytest

from gateway.tcpinfo import unseen


class Transport:
    """What of a transport is asked."""

    def __init__(self, acknowledged: int, *, size: int = 232, secure: bool = False) -> None:
        self.info = struct.pack("=120xQ104x", acknowledged)[:size]
        self.extra: dict[str, Any] = {"socket": self, "sslcontext": object() if secure else None}
        self.broken = False

    def get_extra_info(self, name: str) -> Any:
        return self.extra[name]

    def getsockopt(self, _level: int, _option: int, size: int) -> bytes:
        if self.broken:
            raise OSError(9, "bad descriptor")
        return self.info[:size]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("exc", [None, BrokenPipeError()], ids=["FIN", "FIN, then written to"])
def test_what_a_closed_pod_did_not_acknowledge_it_has_not_seen(exc: Exception | None) -> None:
    """All that went before is acknowledged, and the handshake's byte."""
    assert unseen(Transport(501), 500, exc)


@pytest.mark.parametrize("acknowledged", [502, 900], ids=["a byte of it", "all of it"])
def test_what_was_acknowledged_may_have_been_seen(acknowledged: int) -> None:
    """Be it a byte."""
    assert not unseen(Transport(acknowledged), 500, None)


def test_after_a_reset_nothing_is_known() -> None:
    """It acknowledges nothing, not even what the pod has read."""
    assert not unseen(Transport(501), 500, ConnectionResetError())


def test_a_kernel_that_does_not_count_tells_nothing() -> None:
    """Some say 0, some say less."""
    assert not unseen(Transport(0), 500, None)
    assert not unseen(Transport(501, size=104), 500, None)


def test_tls_has_bytes_of_its_own() -> None:
    """They cannot be compared."""
    assert not unseen(Transport(501, secure=True), 500, None)


def test_a_socket_that_is_gone_tells_nothing() -> None:
    """Or one that never was."""
    transport = Transport(501)
    transport.broken = True
    assert not unseen(transport, 500, None)
    transport.extra["socket"] = None
    assert not unseen(transport, 500, None)


def test_other_systems_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their struct is another."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not unseen(Transport(501), 500, None)
