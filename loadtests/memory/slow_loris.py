"""The attack: connections that send a byte of a head each second, for ever, and connect again when they are cut off.

A process of its own. Writes what became of them to standard output as JSON when it is told to end.
"""

import argparse
import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from loadtests.memory.crowd import client_addresses, connect

if TYPE_CHECKING:
    from socket import socket

HEAD = b"POST /v1/models/model-0:predict HTTP/1.1\r\nHost: model-0.example.com\r\nX-Patience: "


class Attacker:
    """One of them."""

    def __init__(self, address: str, source: str, told: Counter[str]) -> None:
        self._address = address
        self._source = source
        self._told = told
        self._socket: socket | None = None
        self._sent = 0

    def go_on(self) -> None:
        """One more byte; or a new connection, when the last one is no more."""
        if self._socket is None:
            self._socket = connect(self._address, self._source)
            self._socket.settimeout(0)
            self._sent = 0
            self._told["connected"] += 1
        try:
            answer = self._socket.recv(4096)
        except BlockingIOError:
            self._socket.send(HEAD[self._sent : self._sent + 1] or b"a")
            self._sent += 1
            return
        except OSError:
            answer = b""
        self._told["answered 408" if answer.startswith(b"HTTP/1.1 408 ") else "cut off"] += 1
        self._socket.close()
        self._socket = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--connections", type=int)
    options = parser.parse_args()
    told: Counter[str] = Counter()
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    sources = client_addresses(3)
    attackers = [Attacker(options.address, next(sources), told) for _ in range(options.connections)]
    pause = 1 / len(attackers)
    due = time.monotonic()
    while not ended:
        for attacker in attackers:
            attacker.go_on()
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
