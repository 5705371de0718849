"""Our own look at pods that the kubelet has not called ready yet."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from gateway.kube.pods import HttpCheck, Pod
from gateway.kube.readiness import Readiness
from tests.eventually import eventually

POD = Pod("u", "iris-1", "n", (), "127.0.0.1", False, False, False, 0.0, 0, None, True, 0, (), None, None)


class Model:
    """A pod's server: counts what asks it and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Host", ""))
        return web.Response(status=self.status)


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    found = Model()
    app = web.Application()
    app.router.add_get("/ready", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
async def readiness() -> AsyncIterator[Readiness]:
    found = Readiness(lambda: None)
    yield found
    found.stop()


def probed(model: Model, **check: object) -> Pod:
    return replace(POD, checks=(HttpCheck(model.port, "/ready", **{"period": 0.02, **check}),))  # type: ignore[arg-type]


async def test_a_pod_is_ready_once_it_answers(model: Model, readiness: Readiness) -> None:
    """And no longer once it answers otherwise: it is asked on in the kubelet's rhythm."""
    pod = probed(model)
    model.status = 503
    readiness.keep([pod])
    await eventually(lambda: model.asked)
    assert not readiness.ready(pod)
    model.status = 200
    await eventually(lambda: readiness.ready(pod))
    assert repr(readiness) == "<Readiness of 1 pods, 1 ready>"
    model.status = 500
    await eventually(lambda: not readiness.ready(pod))


@pytest.mark.parametrize(
    "change",
    [
        {"ready": True},
        {"terminating": True},
        {"running": False},
        {"host": None},
        {"checks": None},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_only_pods_that_may_have_become_ready_are_asked(
    model: Model, readiness: Readiness, change: dict[str, object]
) -> None:
    """The kubelet's word, an end, or nothing to ask are enough."""
    pod = replace(probed(model), **change)  # type: ignore[arg-type]
    readiness.keep([pod])
    assert repr(readiness) == "<Readiness of 0 pods, 0 ready>"
    assert readiness.ready(pod) is pod.ready


async def test_a_pod_that_the_kubelet_calls_ready_is_asked_no_more(
    model: Model, readiness: Readiness
) -> None:
    """From then on its condition counts alone."""
    pod = probed(model)
    readiness.keep([pod])
    await eventually(lambda: readiness.ready(pod))
    readiness.keep([replace(pod, ready=True)])
    assert not readiness.ready(pod)
    asked = len(model.asked)
    await asyncio.sleep(0.05)
    assert len(model.asked) <= asked + 1


async def test_a_restart_makes_it_unready(model: Model, readiness: Readiness) -> None:
    """What its container answered in its last life proves nothing."""
    pod = probed(model)
    readiness.keep([pod])
    await eventually(lambda: readiness.ready(pod))
    model.status = 503
    again = replace(pod, restarts=1)
    readiness.keep([again])
    assert not readiness.ready(again)


@pytest.mark.parametrize("change", ["host", "checks"])
async def test_another_address_or_question_makes_it_unready(
    model: Model, readiness: Readiness, change: str
) -> None:
    """As when a node came back and gave it a new address, or its container has started."""
    pod = probed(model)
    readiness.keep([pod])
    await eventually(lambda: readiness.ready(pod))
    other: dict[str, Any] = {"host": "127.0.0.2", "checks": (HttpCheck(model.port, "/missing"),)}
    readiness.keep([replace(pod, **{change: other[change]})])
    assert not readiness.ready(pod)


async def test_what_need_not_be_asked_any_more_leaves_it_ready(model: Model, readiness: Readiness) -> None:
    """As when its container has started, and the kubelet has yet to say that it is ready."""
    pod = probed(model)
    started = replace(pod, checks=(*(pod.checks or ()), HttpCheck(model.port, period=0.02)))
    readiness.keep([started])
    await eventually(lambda: readiness.ready(started))
    readiness.keep([pod])
    assert readiness.ready(pod)


async def test_all_containers_must_pass(model: Model, readiness: Readiness) -> None:
    """As for the kubelet."""
    [check] = probed(model).checks or ()
    pod = replace(POD, checks=(check, replace(check, path="/missing")))
    readiness.keep([pod])
    await eventually(lambda: len(model.asked) > 2)
    assert not readiness.ready(pod)


async def test_a_port_that_accepts_is_enough_for_a_tcp_probe(model: Model, readiness: Readiness) -> None:
    """Nothing is said there."""
    pod = replace(POD, checks=(HttpCheck(model.port, period=0.02),))
    readiness.keep([pod])
    await eventually(lambda: readiness.ready(pod))
    assert not model.asked


async def test_a_probes_own_headers_are_sent(model: Model, readiness: Readiness) -> None:
    """In place of ours."""
    pod = probed(model, headers=(("Host", "model.example"),))
    readiness.keep([pod])
    await eventually(lambda: readiness.ready(pod))
    assert set(model.asked) == {"model.example"}


async def test_what_was_got_instead_of_success_is_kept(model: Model) -> None:
    """For those who wait: as when a probe's path is misspelt; told once for as long as it is the same."""
    told: list[None] = []
    readiness = Readiness(lambda: told.append(None))
    pod = probed(model)
    model.status = 404
    readiness.keep([pod])
    words = f"pod iris-1 runs; GET /ready at 127.0.0.1:{model.port} answers 404"
    await eventually(lambda: readiness.fault(pod) == words)
    await eventually(lambda: len(model.asked) > 2)
    assert len(told) == 1
    model.status = 200
    await eventually(lambda: readiness.ready(pod))
    assert readiness.fault(pod) is None
    readiness.stop()
    assert readiness.fault(pod) is None
