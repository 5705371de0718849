"""TLS as operators have it: a gateway in a process of its own, its files, and what becomes of them."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.certificates import Authority
from tests.eventually import eventually
from tests.integration.dataplane import Connection, RealPod
from tests.integration.running import Running, tidegate

END = datetime(2031, 1, 1, tzinfo=UTC)
LATER = datetime(2032, 1, 1, tzinfo=UTC)


async def echo(connection: Connection) -> None:
    """Answer with the head of the request."""
    while True:
        head = await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


class Site:
    """A gateway with TLS on both sides, and the pod behind it."""

    def __init__(self, running: Running, authority: Authority, pod: RealPod) -> None:
        self.running = running
        self.pod = pod
        self.url = running.url.replace("http:", "https:")
        self.port = int(running.url.rpartition(":")[2])
        self._client = authority.client()

    async def get(self) -> tuple[int, str]:
        """On a connection of its own."""
        headers = {"connection": "close"}
        async with self.running.session.get(self.url, ssl=self._client, headers=headers) as answer:
            return answer.status, await answer.text()

    async def shown(self) -> str:
        """The end of the certificate that a new client is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self._client)
        end: str = writer.get_extra_info("peercert")["notAfter"]
        writer.transport.abort()
        return end

    async def tls(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.running.state())["tls"]
        return state

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds(await self.tls()):
                await asyncio.sleep(0.05)

    async def metric(self, name: str) -> float:
        async with self.running.session.get(f"{self.running.admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def config(port: int, **more: Any) -> dict[str, Any]:
    target = {"urls": [f"https://127.0.0.1:{port}"], "tls": {"ca": "ca.crt"}}
    return {
        "tls": {"cert": "tls.crt", "key": "tls.key"},
        "backends": {"iris": {"target": target, "activation": {"timeout": "1s"}}},
        "routes": [{"name": "iris", "split": {"iris": 1}}],
        **more,
    }


@asynccontextmanager
async def site(authority: Authority, folder: Path, **more: Any) -> AsyncIterator[Site]:
    authority.issue(folder, not_after=END)
    authority.write(folder)
    pod = await RealPod(echo, authority.server()).start()
    try:
        async with tidegate(folder, config(pod.port, **more), command="gateway") as running:
            yield Site(running, authority, pod)
            assert await running.end() == 0
            assert "Traceback" not in running.log
    finally:
        await pod.kill()


async def test_a_request_is_encrypted_on_both_sides(authority: Authority, tmp_path: Path) -> None:
    """The pod is told that the client came by https; the state and the metrics tell of the certificate."""
    async with site(authority, tmp_path) as served:
        status, head = await served.get()
        assert status == 200
        assert "\r\nx-forwarded-proto: https\r\n" in head
        assert (await served.tls())["not_after"] == "2031-01-01T00:00:00.000+00:00"
        assert await served.metric("tidegate_certificate_expiry_seconds") == END.timestamp()


async def test_a_renewed_certificate_is_shown_and_a_bad_one_never(
    authority: Authority, tmp_path: Path
) -> None:
    """Whatever is written in between, requests succeed; the next good pair is taken over."""
    async with site(authority, tmp_path) as served:
        before = await served.shown()
        cert, key = (tmp_path / name for name in ("tls.crt", "tls.key"))
        good = cert.read_bytes()
        cert.write_bytes(good[: len(good) // 2])
        await served.until(lambda tls: not tls["last_reload"]["ok"])
        (problem,) = (await served.tls())["last_reload"]["problems"]
        assert "config.yaml:1 tls.cert: " in problem
        assert problem in served.running.log
        assert (await served.get())[0] == 200
        assert await served.shown() == before
        key.unlink()
        await served.until(lambda tls: "no such file" in "".join(tls["last_reload"]["problems"]))
        assert (await served.get())[0] == 200
        authority.issue(tmp_path, not_after=LATER)
        await served.until(lambda tls: tls["not_after"].startswith("2032"))
        assert await served.shown() != before
        assert (await served.get())[0] == 200
        assert await served.metric("tidegate_certificate_expiry_seconds") == LATER.timestamp()


async def test_a_configuration_with_a_bad_file_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    """It is refused with its line, as for any mistake."""
    async with site(authority, tmp_path) as served:
        changed = {"tls": {"cert": "ca.crt", "key": "tls.key"}, "drain": {"timeout": "1s"}}
        path = served.running.path
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, **changed}))
        await eventually(lambda: "the configuration was not taken over" in served.running.log)
        assert "tls.key: " in served.running.log
        assert "does not fit the certificate" in served.running.log
        assert (await served.get())[0] == 200
        del document["tls"]
        path.write_text(json.dumps(document))
        await eventually(lambda: "which takes a restart: this process speaks" in served.running.log)
        assert (await served.get())[0] == 200


async def test_pods_are_held_to_the_cas_as_they_are_now(authority: Authority, tmp_path: Path) -> None:
    """When the CAs' file changes, the next connection is verified by it; the answer says what is wrong."""
    async with site(authority, tmp_path) as served:
        assert (await served.get())[0] == 200
        Authority().write(tmp_path)
        async with asyncio.timeout(10):
            while (answer := await served.get())[0] == 200:
                await asyncio.sleep(0.05)
        assert answer[0] == 502
        assert "its certificate is not trusted" in answer[1]
        assert "refuses or drops connections (its certificate is not trusted" in served.running.log
        authority.write(tmp_path)
        async with asyncio.timeout(10):
            while (await served.get())[0] != 200:
                await asyncio.sleep(0.05)


async def test_what_is_no_handshake_is_dropped(authority: Authority, tmp_path: Path) -> None:
    """Plain HTTP at once, a client that stops half-way after `timeouts.head`; neither is worth a word in the log."""
    async with site(authority, tmp_path, defaults={"timeouts": {"head": "300ms"}}) as served:
        hello, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):
            authority.client().wrap_bio(hello, outgoing, server_hostname="localhost").do_handshake()
        before = served.running.log
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", outgoing.read()[:100], b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(data)
            with suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert served.running.log == before
        assert (await served.get())[0] == 200


async def test_a_drain_does_not_wait_for_idle_clients(authority: Authority, tmp_path: Path) -> None:
    """Those that do not answer the end of their connection, as pools of blocking clients do not."""
    async with site(authority, tmp_path) as served:
        client = await asyncio.to_thread(_dial, served.port, authority.client())
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.to_thread(client.recv, 65536)
        async with asyncio.timeout(10):  # `drain.timeout` is 30 s
            assert await served.running.end() == 0
        client.close()


def _dial(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="127.0.0.1")


async def test_a_gateway_does_not_start_with_files_that_cannot_be_used(
    authority: Authority, tmp_path: Path
) -> None:
    """Exit code 2, and a line for each."""
    pod = await RealPod(echo, authority.server()).start()
    with pytest.raises(AssertionError) as caught:
        async with tidegate(tmp_path, config(pod.port), command="gateway"):
            pass
    for key in ("tls.cert", "tls.key", "backends.iris.target.tls.ca"):
        assert f"config.yaml:1 {key}: " in str(caught.value)
    assert "Traceback" not in str(caught.value).partition("assert")[0]
    await pod.kill()


async def test_a_client_that_does_not_trust_the_gateway_is_no_event(
    authority: Authority, tmp_path: Path
) -> None:
    """It is the client's affair."""
    async with site(authority, tmp_path) as served, aiohttp.ClientSession() as session:
        before = served.running.log
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(served.url)
        assert served.running.log == before
