"""What transports do not do."""

from gateway.sockets import reset_connection
from tests.fakes import Loop, Transport


def test_a_reset_breaks_the_connection() -> None:
    """The other side cannot take it for an end."""
    transport = Transport(Loop(), None)
    reset_connection(transport)
    assert transport.end == "reset"


def test_a_connection_that_closes_with_bytes_unsent_is_still_reset() -> None:
    """The close would wait for them; one without any has ended."""
    transport = Transport(Loop(), None)
    transport.close()
    reset_connection(transport)
    assert transport.socket.lingers
    transport.unsent = 1
    reset_connection(transport)
    assert not transport.socket.lingers


def test_a_transport_without_a_socket_is_aborted() -> None:
    """There is nothing to set."""
    transport = Transport(Loop(), None)
    transport.socket = None  # type: ignore[assignment]
    transport.abort = lambda: transport.calls.append("abort")  # type: ignore[method-assign]
    reset_connection(transport)
    assert transport.calls == ["abort"]
