"""A Kubernetes API server over real HTTP, on 127.0.0.1, for tests.

    async with ApiServer.running() as api:
        await api.apply(yaml_text)
        client = Client(api.url, api.admin_token)

    async with ApiServer.running(beside=api) as other:      the same cluster behind another address, with faults of its own

A request goes: faults, who asks (`identity`), may it (`rbac`), what for (`paths`), done (`verbs`, or `watching`). The state is `store`'s, what a cluster's
controllers make of it `controllers`'. What service accounts were allowed is kept in `requests`, what anybody was refused in `refusals`, so that a
test can compare it with their roles.

By hand: `python -m tests.kube.apiserver --port 6443 --kubeconfig FILE`. Two of its faults are signals there: SIGUSR1 has it away, the next one
back; SIGUSR2 ends all watches, which find their version too old when they come again.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import logging
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trustme
import yaml
from aiohttp import web

from tests.kube import manifests, rbac
from tests.kube.admission import Admission
from tests.kube.controllers import Controllers
from tests.kube.documents import document
from tests.kube.errors import ApiError, no_such_path
from tests.kube.faults import Faults
from tests.kube.identity import ADMIN, ANONYMOUS, AUTHENTICATED, Tokens, User
from tests.kube.listing import Lists
from tests.kube.patches import strategically_merged
from tests.kube.paths import parse
from tests.kube.simulated import SimulatedNode
from tests.kube.store import Store
from tests.kube.verbs import Asked, Verbs, selection
from tests.kube.watching import stream

if TYPE_CHECKING:
    from asyncio import AbstractServer
    from collections.abc import AsyncIterator, Iterable

    from tests.kube.history import Record
    from tests.kube.paths import Target

_log = logging.getLogger(__name__)
_HEALTH = {"/healthz", "/livez", "/readyz"}
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class Recorded(NamedTuple):
    """A request that somebody made."""

    user: str
    verb: str
    group: str
    resource: str
    """With its subresource: `deployments/scale`."""
    namespace: str
    name: str


class ApiServer:
    def __init__(
        self,
        port: int = 0,
        *,
        tls: bool = False,
        capacity: int = 10_000,
        bookmarks: float = 1.0,
        controllers: bool = True,
        lag: float = 0.0,
        beside: ApiServer | None = None,
    ) -> None:
        """`beside`: another server of that one's cluster, with its own view of it, its own faults and its own `requests`."""
        self._first = beside is None
        self.store = beside.store if beside else Store(time.time, capacity=capacity)
        history = self.store.another_history() if beside else self.store.history
        self.admission = beside.admission if beside else Admission()
        self.tokens = beside.tokens if beside else Tokens(self.store)
        self.requests: list[Recorded] = []
        self.refusals: list[Recorded] = []
        """Anybody's."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Requests of anybody that came, by (verb, resource)."""
        lists = Lists(self.store, history)
        self._history = history
        self.faults = Faults(history, lists, self._listen, self._close)
        self.faults.bookmark_interval = bookmarks
        self._verbs = Verbs(self.store, lists, self.tokens)
        self._port = port
        self._authority = trustme.CA() if tls else None
        self.controllers = (
            beside.controllers if beside else Controllers(self.store, self.admission, self.ca, lag)
        )
        self._controlled = controllers and self._first
        self._runner = web.AppRunner(
            _application(self),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
            keepalive_timeout=3600,
        )
        self._reserved: socket.socket | None = None
        self._listener: AbstractServer | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, **options: Any) -> AsyncIterator[ApiServer]:
        """A server until the end of the block, with the namespaces that every cluster has."""
        server = cls(**options)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    async def start(self) -> None:
        if self._first:
            self._bootstrap()
        await self._runner.setup()
        # Bound and never listening, so that the port stays ours while the server is away and connections are refused.
        self._reserved = _bound(self._port)
        self._port = self._reserved.getsockname()[1]
        await self._listen()
        if self._controlled:
            self.controllers.start()

    async def stop(self) -> None:
        self._close()
        await self._runner.cleanup()
        if self._reserved is not None:
            self._reserved.close()
        if self._controlled:
            self.controllers.stop()

    # For tests

    @property
    def url(self) -> str:
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self._port}"

    @property
    def admin_token(self) -> str:
        return self.tokens.admin

    @property
    def ca(self) -> str:
        """The certificate authority's certificate in PEM; "" without TLS."""
        return self._authority.cert_pem.bytes().decode() if self._authority else ""

    def token(self, user: str, seconds: int = 3600) -> str:
        """A token of `kubernetes-admin`, of `system:serviceaccount:NAMESPACE:NAME` or of any other user."""
        if user in {"admin", ADMIN.name}:
            return self.admin_token
        if user.startswith("system:serviceaccount:"):
            namespace, name = user.split(":")[2:]
            return self.tokens.issue(self.store.record("serviceaccounts", namespace, name), seconds)[0]
        return self.tokens.of_user(User(user, (AUTHENTICATED,)))

    def kubeconfig(self, path: Path | str, user: str = ADMIN.name, namespace: str = "default") -> Path:
        """Write a kubeconfig by which `user` reaches this server."""
        cluster: dict[str, Any] = {"server": self.url}
        if self._authority:
            cluster["certificate-authority-data"] = _base64(self.ca)
        context = {"cluster": "tests", "user": user, "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }
        written = Path(path)
        written.write_text(yaml.safe_dump(document))
        return written

    async def apply(
        self, given: str | dict[str, Any] | Iterable[dict[str, Any]], namespace: str = "default"
    ) -> list[Record]:
        """Create every object, or merge it into the one that is there, as the admin. `namespace` is for those that name none.

        A status that is given is written as well, as by the status subresource: a plain write would leave it out.
        """
        applied = [self._applied(obj, namespace) for obj in manifests.objects(given)]
        await asyncio.sleep(0)
        return applied

    def _applied(self, obj: dict[str, Any], namespace: str) -> Record:
        resource = self.store.registry.of(obj)
        metadata = dict(obj["metadata"])
        if resource.namespaced:
            metadata.setdefault("namespace", namespace)
        found = self.store.find(resource, metadata.get("namespace", ""), metadata["name"])
        obj = {**obj, "metadata": metadata}
        if found is None:
            made = self.store.create(resource, obj)
        else:
            made = self.store.replace(resource, strategically_merged(found.obj, obj))
        if "status" not in obj or not resource.status:
            return made
        return self.store.set_status(made, strategically_merged(made.obj.get("status"), obj["status"]))

    # HTTP

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return web.Response(
                body=error.body(), status=error.code, content_type="application/json", headers=headers
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            _log.exception("the emulation could not answer %s %s", request.method, request.path)
            return _json(500, ApiError(500, "InternalError", f"Internal error occurred: {error!r}").body())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        user, path = self.tokens.user(request.headers.get("Authorization", "")), request.path
        if path in _HEALTH:
            return web.Response(text="ok")
        if user is ANONYMOUS and path != "/version":
            raise ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot get path "{path}"')
        found = document(self.store.registry, path, f"127.0.0.1:{self._port}")
        if found is not None:
            return _json(200, json.dumps(found).encode())
        if not path.startswith(("/api/", "/apis/")):
            raise no_such_path()
        target = parse(request.method, path, request.query)
        self.counts[target.verb, target.full_resource] += 1
        await self._meet_faults(target, request.query.get("timeout", ""))
        self._authorize(user, target)
        if target.verb == "watch":
            resource = self.store.registry.at(target.group, target.version, target.plural)
            chosen = selection(resource, target.namespace, request.query)
            return await stream(request, self._history, self.faults, resource, chosen)
        asked = Asked(user, target, request.query, request.content_type, await request.read())
        return _json(*self._verbs.answer(asked))

    async def _meet_faults(self, target: Target, within: str) -> None:
        """A request may say, as `2.5s`, after how long it is to be given up, whether its client still waits or not."""
        try:
            async with asyncio.timeout(float(within.removesuffix("s")) if within else None):
                await self.faults.meet(target)
        except TimeoutError:
            raise ApiError(
                504, "Timeout", "Timeout: request did not complete within the allotted timeout"
            ) from None

    def _authorize(self, user: User, target: Target) -> None:
        if target.group == "authorization.k8s.io":
            return
        place = target.group, target.full_resource, target.namespace, target.name
        record = Recorded(user.name, target.verb, *place)
        try:
            rbac.authorize(self.store, user, target)
        except ApiError:
            self.refusals.append(record)
            raise
        if user.is_service_account:
            self.requests.append(record)

    # Life

    def _bootstrap(self) -> None:
        self.store.admission.append(self.admission)
        for name in _NAMESPACES:
            self.store.create("namespaces", {"metadata": {"name": name}})
        everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        self.store.create("clusterroles", {"metadata": {"name": "cluster-admin"}, "rules": [everything]})

    async def _listen(self) -> None:
        listening = _bound(self._port)
        context = None
        if self._authority:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._runner.server, sock=listening, ssl=context, backlog=512
        )

    def _close(self) -> None:
        """Stop listening and cut what is open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()

    def __repr__(self) -> str:
        return f"<ApiServer {self.url}, {self.store!r}, {self.faults!r}>"


def _application(server: ApiServer) -> web.Application:
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", server.answer)
    return application


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", port))
    return bound


async def _serve(arguments: argparse.Namespace) -> None:
    # A large cluster is a million objects, none of them in cycles: to look them over would stop all of it for 0.3 s.
    gc.disable()
    options = {"port": arguments.port, "tls": arguments.tls, "lag": arguments.lag}
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with ApiServer.running(**options) as api, AsyncExitStack() as stack:
        _listen_to_signals(api.faults)
        if arguments.simulate is not None:
            address = arguments.address
            addresses = (lambda _: address) if address else None
            node = SimulatedNode.running(api, delay=arguments.simulate, addresses=addresses)
            await stack.enter_async_context(node)
        if arguments.kubeconfig:
            api.kubeconfig(arguments.kubeconfig)
        sys.stdout.write(f"serving at {api.url}\n")
        sys.stdout.flush()
        await ended.wait()


def _listen_to_signals(faults: Faults) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def come_or_go() -> None:
        task = loop.create_task(faults.back() if faults.is_away else faults.away())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def expire() -> None:
        faults.answer(410, times=faults.cut_watches(cleanly=True), verb="watch")

    loop.add_signal_handler(signal.SIGUSR1, come_or_go)
    loop.add_signal_handler(signal.SIGUSR2, expire)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="A Kubernetes API server with its controllers, kept in memory."
    )
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--kubeconfig", type=Path, help="write the admin's there, once it serves")
    parser.add_argument("--tls", action="store_true", help="serve over TLS, by an authority of its own")
    parser.add_argument("--lag", type=float, default=0.0, help="seconds until controllers deal with a change")
    parser.add_argument(
        "--simulate", type=float, metavar="SECONDS", help="add a node whose pods are ready after so long"
    )
    parser.add_argument("--address", help="that all pods of that node get, in the place of one each")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
