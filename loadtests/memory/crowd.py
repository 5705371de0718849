"""Clients by the thousand that connect and then keep still."""

import resource
import select
import socket
import sys
from collections.abc import Iterator
from itertools import count
from typing import Self

from loadtests.common import loopback
from loadtests.probe import END

PER_ADDRESS = 500
"""Connections from one client address: ports do not run out, and it looks like many clients."""
TIMEOUT = 10.0


def raise_file_limit(needed: int) -> None:
    """As many open files as are allowed, here and in what is started from here; exits when these are too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        sys.exit(
            f"{needed} open files are needed and {hard} allowed: see ulimit -Hn, or ask for fewer connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def client_addresses(third: int) -> Iterator[str]:
    """127.0.THIRD.1 for the first PER_ADDRESS connections, then 127.0.THIRD.2 …"""
    for number in count():
        yield f"127.0.{third}.{1 + number // PER_ADDRESS}"


def connect(address: str, source: str) -> socket.socket:
    return socket.create_connection(loopback(address), timeout=TIMEOUT, source_address=(source, 0))


class Crowd:
    """Kept connections that are all open at once."""

    def __init__(self, address: str, size: int, request: bytes | None) -> None:
        """Open them, one after the other, each with one request if that is given."""
        self._members: list[socket.socket] = []
        addresses = client_addresses(2)
        for _ in range(size):
            member = connect(address, next(addresses))
            self._members.append(member)
            if request is not None:
                member.sendall(request)
                answer = member.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(END):
                    sys.exit(f"connection {len(self._members)} was answered {answer[:300]!r}")

    def closed(self) -> int:
        """How many have been closed from the other side, or have been told something unasked."""
        poll = select.poll()
        for member in self._members:
            poll.register(member, select.POLLIN)
        return len(poll.poll(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.close()

    def __repr__(self) -> str:
        return f"<Crowd of {len(self._members)}>"
