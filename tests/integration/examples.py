"""An example of `config/examples/`, served by a gateway process in front of pods that tell what they got and who they are."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.config.yamltree import compose
from tests.fakes import read_request
from tests.integration.dataplane import Connection, Handler, RealPod, content_length
from tests.integration.running import ROOT, Running, tidegate

EXAMPLES = ROOT / "config/examples"


@dataclass
class Told:
    """An answer, and what the pod that gave it told of the request."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes

    @property
    def pod(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def backend(self) -> str:
        return str(self.pod["backend"])


class Example:
    """A gateway process with an example's configuration, and the example's pods."""

    def __init__(self, running: Running, pods: dict[str, list[RealPod]]) -> None:
        self.running = running
        self.pods = pods

    async def ask(self, target: str = "/", method: str = "GET", body: Any = None, **headers: str) -> Told:
        """Ask once; underscores in names of headers stand for dashes."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.running.url + target
        body = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.running.session.request(method, url, data=body, headers=fields) as answer:
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Told(answer.status, told, await answer.read())


async def telling(name: str, connection: Connection) -> None:
    """Answer each request with its Backend's name, its target, its fields and its body."""
    while True:
        raw = await connection.head()
        if b"transfer-encoding: chunked" in raw.lower():
            raw += await connection.reader.readuntil(b"0\r\n\r\n")
        else:
            raw += await connection.exactly(content_length(raw))
        request, body, _, _ = read_request(raw)
        told = {
            "backend": name,
            "target": request.target.decode(),
            "headers": {key.decode(): value.decode("latin-1") for key, value in request.headers},
            "body": body.decode("latin-1"),
        }
        answer = json.dumps(told).encode()
        connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))


@asynccontextmanager
async def example(
    name: str,
    tmp_path: Path,
    replicas: int = 1,
    handlers: Mapping[str, Handler] | None = None,
    routes: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[Example]:
    """Serve `config/examples/NAME` with so many pods for each of its backends; `routes` holds other values for keys of some of its routes."""
    tree, _ = compose((EXAMPLES / name).read_text())
    assert tree is not None
    config = {key: value for key, value in tree.plain().items() if key not in ("listen", "admin")}
    for route in config["routes"]:
        route.update((routes or {}).get(route["name"], {}))
    async with AsyncExitStack() as stack:
        pods: dict[str, list[RealPod]] = {}
        for backend, section in config["backends"].items():
            handler = (handlers or {}).get(backend, partial(telling, backend))
            pods[backend] = [await RealPod(handler).start() for _ in range(replicas)]
            for pod in pods[backend]:
                stack.push_async_callback(pod.kill)
            section["target"] = {"urls": [f"http://127.0.0.1:{pod.port}" for pod in pods[backend]]}
        running = await stack.enter_async_context(tidegate(tmp_path, config, command="gateway"))
        yield Example(running, pods)
        await asyncio.sleep(0)
