"""Asking a running autoscaler, and what is said when it does not answer."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from autoscaler import inquiry
from autoscaler.admin import make_app
from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.inquiry import Unanswered, ask
from autoscaler.scalers import FixedScaler
from autoscaler.spec import ScalingSpec

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    controller = Controller(Collector(), asyncio.get_running_loop().time)
    for name in ("iris", "lily"):
        controller.put(name, ScalingSpec(), FixedScaler(1))
    async with TestServer(make_app(controller, CollectorRegistry())) as server:
        yield str(server.make_url(""))


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    """An admin side without decisions."""
    async with TestServer(web.Application()) as server:
        yield str(server.make_url(""))


async def test_the_first_that_has_decisions_answers(url: str, gateway: str) -> None:
    """Nobody, a gateway on its own, then an autoscaler."""
    assert list((await ask([NOBODY, gateway, url]))["backends"]) == ["iris", "lily"]
    assert list((await ask([url], "lily"))["backends"]) == ["lily"]


async def test_a_backend_that_is_not_there_is_told_with_names_near_it(url: str) -> None:
    """Of the first autoscaler, when no other one knows it either."""
    with pytest.raises(
        Unanswered, match=f'^there is no backend "irsi" at {url.rstrip("/")}; did you mean iris'
    ):
        await ask([url, NOBODY], "irsi")
    with pytest.raises(Unanswered, match=r'^there is no backend "zzz" at [^;]*$'):
        await ask([url], "zzz")


async def test_a_backend_may_be_anothers(url: str) -> None:
    """Another autoscaler may have the first address, as where two run on one machine."""
    controller = Controller(Collector(), asyncio.get_running_loop().time)
    controller.put("rose", ScalingSpec(), FixedScaler(1))
    async with TestServer(make_app(controller, CollectorRegistry())) as other:
        assert list((await ask([str(other.make_url("")), url], "lily"))["backends"]) == ["lily"]


async def test_every_address_that_was_asked_is_told(gateway: str) -> None:
    """With what was wrong there, and what to do."""
    with pytest.raises(Unanswered) as told:
        await ask([NOBODY, gateway])
    assert str(told.value) == (
        f"{NOBODY} does not answer (connection refused), and {gateway} has no decisions (it answers 404), as a gateway on its own; "
        "name the autoscaler's admin side with --admin, or the configuration that it runs with --config"
    )


async def test_what_is_no_address_is_told() -> None:
    """With how to write one."""
    with pytest.raises(Unanswered, match=r"http://: is no address: write it as http://127.0.0.1:8082"):
        await ask(["http://:"])


async def test_one_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hang."""
    monkeypatch.setattr(inquiry, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(Unanswered, match=f"http://{host}:{port} has not answered within 0.05 s"):
            await ask([f"http://{host}:{port}"])


@pytest.mark.parametrize(
    "said",
    [
        "3",
        "null",
        '{"backends": [1]}',
        '{"backends": null}',
        '{"backends": {"iris": null}}',
        '{"backends": {}}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
async def test_what_no_autoscaler_would_say_is_no_answer(said: str) -> None:
    """Anything may listen at an address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=said, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/decisions", answer)
    async with TestServer(app) as server:
        with pytest.raises(Unanswered, match=r"has no decisions|does not answer"):
            await ask([str(server.make_url(""))], "iris")
