"""Rewrites, redirects and fixed answers: the examples of `config/examples/`, asked over real sockets."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.dataplane import Connection
from tests.integration.examples import Example, example

ALL = {"backend": "iris-v2"}


async def metrics(served: Example) -> str:
    async with served.running.session.get(f"{served.running.admin}/metrics") as answer:
        return await answer.text()


async def test_pods_and_clients_see_what_a_route_writes(tmp_path: Path) -> None:
    """Path, host and fields in both directions."""
    async with example("rewriting.yaml", tmp_path) as served:
        told = await served.ask(
            "/api/iris/v1:predict?a=/api", "POST", b"{}", authorization="secret", x_model_tier="tin"
        )
        fields = told.pod["headers"]
        assert told.pod["target"] == "/v1/models/iris/v1:predict?a=/api"
        assert (fields["host"], fields["x-model-tier"]) == ("iris.internal", "gold")
        assert fields["x-forwarded-host"] == served.running.url.removeprefix("http://")
        assert fields["cache-control"] == "no-transform"
        assert "authorization" not in fields
        assert (told.headers["server"], told.headers["strict-transport-security"]) == (
            "models",
            "max-age=31536000",
        )
        state = await served.running.state()
        assert state["routes"][0]["rewriting"]["prefix"] == "/v1/models/iris"


async def test_clients_are_led_elsewhere(tmp_path: Path) -> None:
    """With the method and the query that they came with."""
    async with example("rewriting.yaml", tmp_path) as served:
        url = served.running.url
        async with served.running.session.post(f"{url}/old/v1?x", data=b"a", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (308, "/api/iris/v1?x")
        async with served.running.session.post(f"{url}/old/v1?x", data=b"a") as answer:
            told = await answer.json(content_type=None)
        assert (told["target"], told["body"]) == ("/v1/models/iris/v1?x", "a")
        there = {"host": "plain.example.com"}
        async with served.running.session.get(f"{url}/a?b", headers=there, allow_redirects=False) as answer:
            assert answer.headers["location"] == "https://models.example.com/a?b"


async def test_what_is_closed_says_so(tmp_path: Path) -> None:
    """To HEAD as well; it is counted for its route."""
    async with example("rewriting.yaml", tmp_path) as served:
        told = await served.ask("/training/x", "POST", b"{}")
        assert (told.status, told.headers["retry-after"], told.headers["content-type"]) == (
            503,
            "600",
            "text/html; charset=utf-8",
        )
        assert told.body.startswith(b"<!doctype html>")
        assert (await served.ask("/training/x", "HEAD")).headers["content-length"] == str(len(told.body))
        page = await metrics(served)
        assert 'tidegate_requests_total{route="closed",backend="",code="503"} 2' in page


async def test_another_model_answers_while_the_first_is_away(tmp_path: Path) -> None:
    """It says so, and is counted as what it was; the first one is asked again when it is back."""
    async with example("fallback.yaml", tmp_path) as served:
        told = await served.ask("/chat", "POST", b"{}")
        assert told.backend == "large"
        assert "x-tidegate-backend" not in told.headers
        (large,) = served.pods["large"]
        await large.kill()
        told = await served.ask("/chat", "POST", b'{"a": 1}')
        assert (told.backend, told.pod["body"]) == ("small", '{"a": 1}')
        assert told.headers["x-tidegate-backend"] == "small"
        page = await metrics(served)
        assert 'tidegate_fallbacks_total{backend="large",route="chat",reason="no_pod"} 1' in page
        assert 'tidegate_requests_total{route="chat",backend="small",code="200"} 1' in page
        await large.start()
        async with asyncio.timeout(10):
            while (await served.ask("/chat")).backend != "large":
                await asyncio.sleep(0.05)


async def test_a_browser_is_told_of_a_start(tmp_path: Path) -> None:
    """It will ask again by itself."""
    async with example("fallback.yaml", tmp_path) as served:
        (large,) = served.pods["large"]
        await large.kill()
        told = await served.ask("/ui", accept="text/html,application/xhtml+xml")
        assert (told.status, told.headers["refresh"], told.headers["cache-control"]) == (503, "5", "no-store")
        assert told.body.startswith(b"<!doctype html>")
        await large.start()
        async with asyncio.timeout(10):
            while (await served.ask("/ui", accept="text/html")).status != 200:
                await asyncio.sleep(0.05)


async def test_a_new_version_sees_a_share_and_is_compared(tmp_path: Path) -> None:
    """Clients hear nothing of it; what differs is in the log."""
    async with example("mirroring.yaml", tmp_path) as served:
        for number in range(20):
            assert (await served.ask(f"/{number}", "POST", b"{}")).backend == "iris-v1"
        async with asyncio.timeout(10):
            while 'tidegate_mirror_comparisons_total{route="iris",backend="iris-v2",result="body"} 2' not in (
                page := await metrics(served)
            ):
                await asyncio.sleep(0.05)
        assert 'tidegate_mirrored_requests_total{route="iris",backend="iris-v2",outcome="answered"} 2' in page
        assert 'tidegate_requests_total{route="iris",backend="iris-v2"' not in page
        log = served.running.log
        assert '"target": "/0"' in log
        assert '"difference": "$.backend: \\"iris-v1\\" and \\"iris-v2\\""' in log


@pytest.mark.parametrize("how", ["down", "hanging", "resetting"])
async def test_a_bad_mirror_is_not_noticed(how: str, tmp_path: Path) -> None:
    """Every request is answered, by whom it is for."""

    async def hang(connection: Connection) -> None:
        await connection.rest()

    async def reset(connection: Connection) -> None:
        await connection.head()
        connection.reset()

    handler = {"iris-v2": reset if how == "resetting" else hang}
    async with example(
        "mirroring.yaml", tmp_path, handlers=handler, routes={"iris": {"mirror": ALL}}
    ) as served:
        if how == "down":
            await served.pods["iris-v2"][0].kill()
        told = [await served.ask("/", "POST", b"{}") for _ in range(30)]
        assert {(each.status, each.backend) for each in told} == {(200, "iris-v1")}
        page = await metrics(served)
        assert 'tidegate_queued_requests{backend="iris-v2"} 0' in page
        if how == "hanging":
            assert (
                'tidegate_mirrored_requests_total{route="iris",backend="iris-v2",outcome="no_slot"} 26'
                in page
            )
