"""Asking a Prometheus: a fake one for what goes wrong, a real one for what goes right."""

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from autoscaler.signals.asked import NoValueError, Prometheus, Query
from autoscaler.signals.prometheus import AT_ONCE, LARGEST_ANSWER, PrometheusClient, SharedQuery, same
from tests.autoscaler.signals.stage import Clock, ModelServer, Told
from tests.certificates import Authority
from tests.eventually import eventually


class FakePrometheus:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [0, "7"]}})
        self.forms: list[Mapping[str, object]] = []
        self.authorizations: list[str | None] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def query(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        self.authorizations.append(request.headers.get("Authorization"))
        await self.gate.wait()
        return web.Response(text=self.body, status=self.status)

    @asynccontextmanager
    async def serving(self, prefix: str = "") -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post(f"{prefix}/api/v1/query", self.query)
        async with TestServer(app) as server:
            yield f"http://127.0.0.1:{server.port}{prefix}"


@pytest.fixture
async def client() -> AsyncIterator[PrometheusClient]:
    made = PrometheusClient()
    yield made
    await made.close()


async def test_a_query_is_posted_as_a_form(client: PrometheusClient) -> None:
    """A query may be longer than a URL; the server gives up when we do."""
    fake = FakePrometheus()
    async with fake.serving() as url:
        assert await client.ask(Prometheus(url), 'sum(up{a="b"}) + 1', 2.0) == 7.0
    assert fake.forms == [{"query": 'sum(up{a="b"}) + 1', "timeout": "2.000"}]
    assert fake.authorizations == [None]


async def test_the_url_may_have_a_prefix(client: PrometheusClient) -> None:
    """As Mimir's and Thanos' do."""
    async with FakePrometheus().serving("/prometheus") as url:
        assert await client.ask(Prometheus(url), "1", 2.0) == 7.0
        assert await client.ask(Prometheus(f"{url}/"), "1", 2.0) == 7.0


async def test_a_token_is_read_for_each_query(client: PrometheusClient, tmp_path: Path) -> None:
    """So that a renewed one is used at once."""
    fake, secret = FakePrometheus(), tmp_path / "token"
    async with fake.serving() as url:
        for token in ("one", "two"):
            secret.write_text(f"{token}\n")
            await client.ask(Prometheus(url, secret=secret), "1", 2.0)
    assert fake.authorizations == ["Bearer one", "Bearer two"]


async def test_a_user_has_a_password(client: PrometheusClient, tmp_path: Path) -> None:
    """Out of a file."""
    fake, secret = FakePrometheus(), tmp_path / "password"
    secret.write_text("s3crét\n")
    async with fake.serving() as url:
        await client.ask(Prometheus(url, user="tide", secret=secret), "1", 2.0)
    expected = base64.b64encode("tide:s3crét".encode()).decode()
    assert fake.authorizations == [f"Basic {expected}"]


async def test_a_secret_that_is_not_there_is_named(client: PrometheusClient, tmp_path: Path) -> None:
    """Nothing is asked without it."""
    fake = FakePrometheus()
    async with fake.serving() as url:
        with pytest.raises(NoValueError) as failure:
            await client.ask(Prometheus(url, secret=tmp_path / "token"), "1", 2.0)
    assert str(failure.value) == f"{url}: No such file or directory ({tmp_path}/token)"
    assert fake.forms == []


async def test_its_certificate_is_verified_by_the_given_ca(client: PrometheusClient, tmp_path: Path) -> None:
    """And by the system's without one."""
    authority = Authority()
    app = web.Application()
    app.router.add_post("/api/v1/query", FakePrometheus().query)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=authority.server("127.0.0.1"))
    url = f"https://127.0.0.1:{server.port}"
    try:
        assert await client.ask(Prometheus(url, ca=authority.write(tmp_path)), "1", 2.0) == 7.0
        with pytest.raises(NoValueError, match="certificate"):
            await client.ask(Prometheus(url), "1", 2.0)
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, '{"status":"error","errorType":"bad_data","error":"parse error"}', "it answered 400, bad_data: parse error"),
        (422, '{"status":"error","errorType":"execution","error":"too many"}', "it answered 422, execution: too many"),
        (503, '{"status":"error","errorType":"timeout","error":"timed out"}', "it answered 503, timeout: timed out"),
        (401, "Unauthorized", "it answered 401, and that is not what a Prometheus says: Unauthorized"),
        (302, "moved", "it answered 302, and that is not what a Prometheus says: moved"),
        (200, "x" * (LARGEST_ANSWER + 1), "its answer is longer than 1 MiB: the query must give one number"),
    ],
    ids=["400", "422", "503", "401", "302", "too long"],
)  # fmt: skip
async def test_what_it_refuses_is_told(client: PrometheusClient, status: int, body: str, words: str) -> None:
    """With the server's URL, and its own words."""
    fake = FakePrometheus()
    fake.status, fake.body = status, body
    async with fake.serving() as url:
        with pytest.raises(NoValueError) as failure:
            await client.ask(Prometheus(url), "1", 2.0)
    assert str(failure.value) == f"{url}: {words}"


async def test_a_server_that_is_silent_or_away_is_told(client: PrometheusClient) -> None:
    """After as long as was given to it."""
    fake = FakePrometheus()
    fake.gate.clear()
    async with fake.serving() as url:
        with pytest.raises(NoValueError, match=r"did not answer within 0.05 s"):
            await client.ask(Prometheus(url), "1", 0.05)
        fake.gate.set()
    with pytest.raises(NoValueError, match=r"^http://127.0.0.1:[0-9]+: .*[Cc]onnect"):
        await client.ask(Prometheus(f"http://127.0.0.1:{unused_port()}"), "1", 2.0)


async def test_only_so_many_queries_are_put_at_once(client: PrometheusClient) -> None:
    """Of one server; the others wait for their turn."""
    fake = FakePrometheus()
    fake.gate.clear()
    async with fake.serving() as url:
        asking = [asyncio.create_task(client.ask(Prometheus(url), "1", 10.0)) for _ in range(AT_ONCE + 4)]
        await eventually(lambda: len(fake.forms) == AT_ONCE)
        assert repr(client) == f"<PrometheusClient of ['{url}']>"
        async with FakePrometheus().serving() as other:
            assert await client.ask(Prometheus(other), "1", 10.0) == 7.0
        fake.gate.set()
        assert await asyncio.gather(*asking) == [7.0] * (AT_ONCE + 4)


async def test_all_who_read_a_query_are_told_of_one_answer(client: PrometheusClient) -> None:
    """Or of one failure."""
    fake, told = FakePrometheus(), Told()
    async with fake.serving() as url:
        query = Query("prometheus load", "load", Prometheus(url))
        shared = SharedQuery(query, client, told, Clock())
        shared.readers = {("a", "prometheus load"), ("b", "prometheus")}
        await shared.round()
        fake.body = "?"
        await shared.round()
    assert told.samples == [("a", "prometheus load", 7.0), ("b", "prometheus", 7.0)]
    assert [failure[:2] for failure in told.failures] == [("a", "prometheus load"), ("b", "prometheus")]
    assert repr(shared) == "<SharedQuery 'load' every 15 s for 2>"


def test_queries_are_the_same_whatever_they_are_called() -> None:
    """As long as they ask the same server the same thing, equally often."""
    server = Prometheus("http://prometheus:9090")
    query = Query("a", "up", server)
    assert same(query) == same(Query("b", "up", server))
    assert same(query) != same(Query("a", "down", server))
    assert same(query) != same(Query("a", "up", Prometheus("http://prometheus:9091")))
    assert same(query) != same(Query("a", "up", server, interval=5.0))


# -- a real one


@asynccontextmanager
async def real_prometheus(folder: Path, scraped: int) -> AsyncIterator[str]:
    """Scrapes the page at a port of this machine five times a second."""
    port = unused_port()
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "model", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                shutil.which("prometheus") or "",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        await _up(f"http://127.0.0.1:{port}/-/ready", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)


async def _up(url: str, process: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while process.poll() is None:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError("Prometheus ended")


async def answer_of(client: PrometheusClient, server: Prometheus, query: str) -> float | str:
    try:
        return await client.ask(server, query, 5.0)
    except NoValueError as error:
        return str(error).removeprefix(f"{server.url}: ")


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus on PATH (Debian: apt install prometheus)"
)
async def test_a_real_prometheus_answers(client: PrometheusClient, tmp_path: Path) -> None:
    """What it scraped from a page, and what is wrong with a query, in its own words."""
    model = ModelServer('waiting{engine="0"} 3\nwaiting{engine="1"} 4\n')
    async with model.serving() as port, real_prometheus(tmp_path, port) as url:
        server = Prometheus(url)

        async def scraped() -> bool:
            return await answer_of(client, server, "sum(waiting)") == 7.0

        async with asyncio.timeout(30):
            while not await scraped():
                await asyncio.sleep(0.05)
        assert await answer_of(client, server, "scalar(max(waiting)) * 2") == 8.0
        assert await answer_of(client, server, "sum(waiting) or vector(0)") == 7.0
        assert await answer_of(client, server, "sum(nothing) or vector(0)") == 0.0
        assert "no data: the query gives no series" in str(await answer_of(client, server, "sum(nothing)"))
        assert "the query gives 2 series, not one" in str(await answer_of(client, server, "waiting"))
        assert "it answered 400, bad_data:" in str(await answer_of(client, server, "sum("))
        assert "the query gives a string" in str(await answer_of(client, server, '"text"'))
        assert "the query gives a matrix" in str(await answer_of(client, server, "waiting[1m]"))
        assert "the query gives NaN" in str(await answer_of(client, server, "vector(0) / 0"))
