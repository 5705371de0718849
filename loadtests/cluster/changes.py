"""How soon does the gateway act on a change of a pod? Between its client and its pod, which are both this process.

One pod of the Deployment is looked at, the others are kept unready. A request that is held for it arrives as soon as the gateway knows that
it is ready; once it is marked as draining, the next request is held. Times are from just before the PATCH is sent.
"""

import select
import socket
import sys
import time
from typing import Any, Self

from loadtests.cluster import shapes
from loadtests.cluster.emulated import MERGE, PODS, STRATEGIC, Api, now, readiness
from loadtests.common import loopback
from loadtests.fleet import BODY

ANNOTATION = "tidegate.dev/draining"
PATIENCE = 10.0
HELD = 0.1
"""Seconds without an arrival after which a request is taken to be held."""
PACE = 0.0005
"""Seconds between two requests while a pod's mark is waited for."""
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


class Pod:
    """Listens where the Deployment's pods are said to, notes arrivals and answers when told to."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._asked: list[socket.socket] = []

    def arrival(self, patience: float = PATIENCE) -> float | None:
        """When the next request is there, in monotonic seconds; None when none comes."""
        give_up = time.monotonic() + patience
        while (left := give_up - time.monotonic()) > 0:
            for one in select.select([self._listener, *self._connections], [], [], left)[0]:
                at = time.monotonic()
                if one is self._listener:
                    self._connections.add(one.accept()[0])
                elif BODY in one.recv(65536):
                    self._asked.append(one)
                    return at
                else:
                    self._connections.remove(one)
                    one.close()
        return None

    def answer(self) -> None:
        self._asked.pop().sendall(REPLY)


class Client:
    """One connection to the gateway."""

    def __init__(self, gateway: str, number: int) -> None:
        self._socket = socket.create_connection(loopback(gateway), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = shapes.name_of(number)
        head = f"POST /v1/models/{name}:predict HTTP/1.1\r\nHost: {name}.example.com\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

    def send(self) -> None:
        self._socket.sendall(self._request)

    def receive(self) -> None:
        answer = self._socket.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"the gateway answered {answer[:300]!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Watched:
    """The Deployment of which one pod comes and goes."""

    def __init__(self, api: Api, pod: Pod, gateway: str, number: int) -> None:
        self._api = api
        self._pod = pod
        self._gateway = gateway
        self._number = number
        self._names = api.pods(shapes.name_of(number))

    def readies(self, times: int) -> list[float]:
        """Seconds from a pod's being called ready to the arrival of the request that waited for it."""
        for name in self._names:
            self._say_ready(name, ready=False)
        found = []
        with Client(self._gateway, self._number) as client:
            for _ in range(times):
                time.sleep(HELD / 2)
                client.send()
                if self._pod.arrival(HELD / 2) is not None:
                    sys.exit("a request was not held, though no pod was ready")
                found.append(self._until_arrival(client, "/status", readiness(ready=True), STRATEGIC))
                self._say_ready(self._names[0], ready=False)
        self._say_ready(self._names[0], ready=True)
        return found

    def drains(self, times: int) -> tuple[list[float], list[float]]:
        """Seconds from a pod's being marked to the first request that is held, no later than a request before it; and the same for the
        mark's being taken back, as for `readies`. Only after `readies`: the pod is the only one that is ready.
        """
        marked, unmarked = [], []
        with Client(self._gateway, self._number) as client:
            for _ in range(times):
                time.sleep(HELD / 2)
                marked.append(self._until_held(client))
                unmarked.append(self._until_arrival(client, "", mark(None), MERGE))
        return marked, unmarked

    def end(self) -> None:
        """All of its pods are ready again."""
        for name in self._names:
            self._say_ready(name, ready=True)

    def _until_held(self, client: Client) -> float:
        began = time.monotonic()
        self._api.send("PATCH", f"{PODS}/{self._names[0]}", mark(now()), MERGE)
        while True:
            sent = time.monotonic()
            client.send()
            if self._pod.arrival(HELD) is None:
                self._api.receive()
                return sent - began
            self._answer(client)
            time.sleep(PACE)

    def _until_arrival(self, client: Client, subresource: str, patch: dict[str, Any], kind: str) -> float:
        began = time.monotonic()
        self._api.send("PATCH", f"{PODS}/{self._names[0]}{subresource}", patch, kind)
        arrived = self._pod.arrival()
        if arrived is None:
            sys.exit(f"no request came within {PATIENCE:g} s after {patch}")
        self._api.receive()
        self._answer(client)
        return arrived - began

    def _answer(self, client: Client) -> None:
        self._pod.answer()
        client.receive()

    def _say_ready(self, name: str, *, ready: bool) -> None:
        self._api.ask("PATCH", f"{PODS}/{name}/status", readiness(ready=ready), STRATEGIC)


def mark(value: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {ANNOTATION: value}}}
