"""How connections end while nobody reads them: on real sockets, since that is about the kernel."""

import socket
import struct
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from gateway.sockets import SLICES, Lookout, reset_connection, unread
from tests.fakes import Loop, Transport

RESET = struct.pack("ii", 1, 0)
Pair = tuple[socket.socket, socket.socket]


class Held:
    """A transport around a socket; as much of one as is needed here."""

    def __init__(self, sock: socket.socket | None, tls: object = None) -> None:
        self.extra = {"socket": sock, "ssl_object": tls}

    def get_extra_info(self, name: str) -> Any:
        return self.extra[name]


class Watched:
    """A paused connection that remembers what it was told."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.transport: Any = Held(sock)
        self.paused = True
        self.told: list[bool] = []

    def on_end(self, *, reset: bool) -> None:
        self.told.append(reset)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection: ours and the other side's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    yield ours, theirs
    ours.close()
    theirs.close()


def round_of(lookout: Lookout) -> None:
    """Look at every slice once."""
    for _ in range(SLICES):
        lookout.turn()


def test_a_fin_is_told(pair: Pair) -> None:
    """Though bytes before it are unread."""
    ours, theirs = pair
    lookout, watched = Lookout(), Watched(ours)
    lookout.watch(watched)
    theirs.sendall(b"unread")
    round_of(lookout)
    assert watched.told == []
    theirs.shutdown(socket.SHUT_WR)
    round_of(lookout)
    assert watched.told == [False]


def test_a_reset_is_told_as_one(pair: Pair) -> None:
    """The other side's part may look whole."""
    ours, theirs = pair
    lookout, watched = Lookout(), Watched(ours)
    lookout.watch(watched)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    theirs.close()
    round_of(lookout)
    assert watched.told == [True]


def test_who_reads_again_is_forgotten(pair: Pair) -> None:
    """Its transport tells it itself."""
    ours, theirs = pair
    lookout, watched = Lookout(), Watched(ours)
    lookout.watch(watched)
    assert repr(lookout) == "<Lookout of 1 connections>"
    watched.paused = False
    theirs.close()
    round_of(lookout)
    assert (watched.told, repr(lookout)) == ([], "<Lookout of 0 connections>")


def test_a_closed_socket_is_forgotten(pair: Pair) -> None:
    """Also one that there never was."""
    ours, _ = pair
    lookout, closed, without = Lookout(), Watched(ours), Watched(None)
    lookout.watch(closed)
    lookout.watch(without)
    ours.close()
    round_of(lookout)
    assert (closed.told, without.told, repr(lookout)) == ([], [], "<Lookout of 0 connections>")


def test_connections_are_spread_over_the_slices() -> None:
    """A thousand that pause at once are not looked at at once."""
    lookout = Lookout()
    for _ in range(100 * SLICES):
        lookout.watch(Watched(None))
    assert [len(part) for part in lookout._slices] == [100] * SLICES


def test_one_end_may_set_another_connection_going() -> None:
    """That one is not told, since it is not paused any more."""
    lookout = Lookout()
    pairs = [socket.socketpair() for _ in range(2)]
    watched = [Watched(ours) for ours, _ in pairs]

    def first_told(*, reset: bool) -> None:
        for other in watched:
            other.paused = False
        told.append(reset)

    told: list[bool] = []
    for one in watched:
        one.on_end = first_told  # type: ignore[method-assign]
    for one in watched:
        for _ in range(SLICES):  # into every slice: both are in the same one, too
            lookout.watch(one)
    for _, theirs in pairs:
        theirs.close()
    round_of(lookout)
    assert len(told) == 1
    for ours, _ in pairs:
        ours.close()


def test_what_waits_in_the_kernel_is_counted(pair: Pair) -> None:
    """Not what it means, where it is encrypted, and nothing is known without a socket."""
    ours, theirs = pair
    theirs.sendall(b"12345")
    ours.recv(1, socket.MSG_PEEK)
    assert unread(Held(ours)) == 5
    assert unread(Held(ours, tls=object())) == inf
    assert unread(Held(None)) == inf


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
