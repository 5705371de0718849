"""A model server for demonstrations: a small real model behind KServe's V1 and V2 REST protocols.

    python deploy/demo/server.py --port 9001 --version v2 --load-time 2 --request-time 0.05

It listens at once and is ready once the model is loaded, as real model servers do. It counts the requests that it
works on at a time, so that a limit claimed in front of it can be checked behind it: in every answer's headers and at
`GET /stats`. A request is counted no more before the first byte of its answer is written, and work stops when its client leaves.
Neighbours: `protocols.py` reads and writes bodies, `model.py` computes; `config/demo.yaml` starts this as pods.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from model import Model
from protocols import InvalidRequestError, answer_v1, answer_v2, metadata, parse

WEIGHTS = Path(__file__).resolve().parent / "weights"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Compute = Callable[[object], dict[str, Any]]


class ModelServer:
    """One model under one name. All times are `time.monotonic()` seconds, comparable between processes of a machine."""

    def __init__(self, model: Model, name: str, load_time: float, request_time: float) -> None:
        self.model = model
        self.name = name
        self.load_time = load_time
        self.request_time = request_time
        self.loaded = False
        self.stopping = False

        # what the server did so far
        self.in_flight = 0
        self.max_in_flight = 0
        self.served = 0
        self.cancelled = 0
        self.first_ready: float | None = None
        self.first_request: float | None = None

    def __repr__(self) -> str:
        state = "ready" if self.ready else "not ready"
        return f"<ModelServer {self.name} {self.model.version}, {state}, {self.in_flight} in flight>"

    @property
    def ready(self) -> bool:
        """Whether to send it requests. One that stops still answers those that reach it."""
        return self.loaded and not self.stopping

    def app(self) -> web.Application:
        app = web.Application(middlewares=[errors_as_json])
        app.add_routes(
            [
                web.get("/stats", self.stats),
                web.get("/v1/models", self.list_models),
                web.get("/v1/models/{name:[^/:]+}", self.model_ready),
                web.post("/v1/models/{name:[^/:]+}:predict", self.predict),
                web.get("/v2", self.server_metadata),
                web.get("/v2/health/live", self.live),
                web.get("/v2/health/ready", self.server_ready),
            ]
        )
        for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            app.add_routes(
                [
                    web.get(path, self.model_metadata),
                    web.get(f"{path}/ready", self.model_ready),
                    web.post(f"{path}/infer", self.infer),
                ]
            )
        return app

    async def load(self) -> None:
        """Be as slow to start as a real model would be."""
        await asyncio.sleep(self.load_time)
        self.loaded = True

    # Health and metadata

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def server_ready(self, _: web.Request) -> web.Response:
        return self._readiness({"ready": self.ready})

    async def model_ready(self, request: web.Request) -> web.Response:
        self._check_model(request)
        return self._readiness({"name": self.name, "ready": self.ready})

    async def list_models(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [self.name]})

    async def server_metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"name": "tidegate-demo", "version": self.model.version, "extensions": []})

    async def model_metadata(self, request: web.Request) -> web.Response:
        self._check_model(request)
        return web.json_response(metadata(self.model, self.name))

    async def stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
                "served": self.served,
                "cancelled": self.cancelled,
                "pid": os.getpid(),
                "version": self.model.version,
                "first_ready": self.first_ready,
                "first_request": self.first_request,
            }
        )

    # Inference

    async def predict(self, request: web.Request) -> web.Response:
        return await self._work(request, partial(answer_v1, self.model))

    async def infer(self, request: web.Request) -> web.Response:
        return await self._work(request, partial(answer_v2, self.model, self.name))

    async def _work(self, request: web.Request, compute: Compute) -> web.Response:
        """Count the request, read it, compute, take the artificial time."""
        if self.first_request is None:
            # aiohttp calls a handler within two turns of its loop of parsing the head; nothing public is earlier
            self.first_request = time.monotonic()
        self._check_model(request)
        if not self.loaded:
            raise web.HTTPServiceUnavailable(text=f"model {self.name} is still loading")
        try:
            # A client's leaving cancels its handler, which ends one turn of the loop later; the request that takes its
            # place may (from Python 3.12 on) be here by then. A turn's wait keeps the two from being counted together.
            await asyncio.sleep(0)
            with self._counted():
                answer = compute(parse(await request.read()))
                await asyncio.sleep(self.request_time)
                self.served += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return web.json_response(answer, headers=self._headers())

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def _check_model(self, request: web.Request) -> None:
        name = request.match_info["name"]
        if name != self.name:
            raise web.HTTPNotFound(text=f"no model named {name} here: this server has {self.name}")
        version = request.match_info.get("version", self.model.version)
        if version != self.model.version:
            raise web.HTTPNotFound(
                text=f"no version {version} of {name} here: this server has {self.model.version}"
            )

    def _readiness(self, body: dict[str, Any]) -> web.Response:
        if not self.ready:
            return web.json_response(body, status=503)
        if self.first_ready is None:
            self.first_ready = time.monotonic()
        return web.json_response(body)

    def _headers(self) -> dict[str, str]:
        return {
            "x-model-version": self.model.version,
            "x-model-pid": str(os.getpid()),
            "x-max-in-flight": str(self.max_in_flight),
        }


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InvalidRequestError as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        kept = {key: value for key, value in error.headers.items() if key == "Allow"}
        return web.json_response({"error": error.text}, status=error.status, headers=kept)


async def serve(server: ModelServer, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then refuse new connections, finish what is in flight, and return."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, keepalive_timeout=3600)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    loading = asyncio.create_task(server.load())
    try:
        await site.start()
        print(
            f"{server.name} {server.model.version} listens on http://{host}:{runner.addresses[0][1]}",
            flush=True,
        )
        await ended.wait()
        server.stopping = True
    finally:
        loading.cancel()
        await runner.cleanup()


def seconds(text: str) -> float:
    """Seconds from `2`, `2s` or `50ms`."""
    value = float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def main() -> None:
    versions = sorted(path.stem for path in WEIGHTS.glob("*.json"))
    parser = argparse.ArgumentParser(
        description="A small iris classifier behind KServe's V1 and V2 REST protocols."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0: any free port, told on standard output")
    parser.add_argument("--name", default="iris", help="the model's name in paths (default: iris)")
    parser.add_argument("--version", choices=versions, default=versions[0], help="which weights")
    parser.add_argument(
        "--load-time", type=seconds, default=0.0, help="seconds until ready, as if loading took so long"
    )
    parser.add_argument(
        "--request-time", type=seconds, default=0.0, help="seconds that each inference takes at least"
    )
    args = parser.parse_args()
    model = Model.load(WEIGHTS / f"{args.version}.json")
    server = ModelServer(model, args.name, args.load_time, args.request_time)
    try:
        asyncio.run(serve(server, args.host, args.port))
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {args.host}:{args.port}: {error}")


if __name__ == "__main__":
    main()
