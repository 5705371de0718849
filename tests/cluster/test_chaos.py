"""What goes wrong in a cluster at the worst moment, in the emulation: no request is lost that was not on a killed pod, and the count is right at the end."""

import asyncio
import signal
from typing import Any

import pytest

from gateway.kube.listwatch import _LATE, _SPREAD, WATCH
from gateway.kube.pods import DRAINING
from tests.cluster.emulation import Emulation, writes
from tests.cluster.load import Load, loaded
from tests.cluster.scenes import QUICK, backend, ready_pods, replicas_are, route, true
from tests.kube.apiserver import ApiServer

pytestmark = pytest.mark.timeout(300)

Object = dict[str, Any]
SCALE = ("patch", "deployments/scale")
NOTICED = WATCH * (1 + _SPREAD) + _LATE
"""Seconds within which a list-watch finds out that its watch has stalled."""
HELD_UP = 25.0
"""Seconds for which an API server holds a write up: longer than its leader leads."""
ENDED = 15.0
"""Seconds, and some, within which a count follows what its pods have to do."""


async def test_watches_fall_silent_in_a_surge(emulation: Emulation) -> None:
    """Connections stay open and nothing comes: the new pods are found as soon as that is noticed, and those that go as well."""
    installation, front = emulation.installation, emulation.front
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    async with loaded(url, 1) as load:
        await installation.until(lambda: ready_pods(installation, 1))
        load.want(16)
        surge = front.counts[SCALE]
        await installation.until(lambda: true(front.counts[SCALE] > surge))
        assert front.faults.mute_watches() > 2
        await installation.until(lambda: _routed(emulation, 5), within=NOTICED + ENDED)
        load.want(1)
        await installation.until(lambda: replicas_are(installation, 1))
    await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]


async def test_a_new_leader_sees_an_old_state(emulation: Emulation) -> None:
    """The count that the leader before it has lowered costs no pod again, though nothing of it is seen yet."""
    installation = emulation.installation
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    async with ApiServer.running(beside=emulation.server) as behind:
        await installation.autoscaler("standby", behind.url)
        async with loaded(url, 16) as load:
            await installation.until(lambda: ready_pods(installation, 5))
            counts = emulation.watch_counts()
            behind.faults.freeze()
            load.want(1)
            await installation.until(lambda: true(len(counts) > 1))
            leaders = installation.path("deployments", "autoscaler")
            await installation.api.patch(leaders, {"spec": {"replicas": 0}})
            await installation.until(lambda: _leads(emulation, "standby"))
            await installation.until(lambda: true(behind.counts["get", "deployments"]))
            await asyncio.sleep(8)  # four ticks of a leader that sees five pods without a mark
            assert counts[-1] >= 1
            assert await _unmarked(emulation)
            behind.faults.thaw()
            await installation.until(lambda: replicas_are(installation, 1))
            assert counts == sorted(counts, reverse=True)
            assert await _unmarked(emulation)
            load.want(16)
            await installation.until(lambda: ready_pods(installation, 5))
        await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]


async def test_a_leader_that_is_killed_in_a_surge_leaves_another_that_knows_all(
    emulation: Emulation,
) -> None:
    """No word of goodbye: the follower wants what the leader would have long before it leads, and sets that when it does."""
    installation = emulation.installation
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start(autoscalers=2)
    first = await installation.leader()
    [follower] = [pod for pod in await installation.pods("autoscaler") if pod["metadata"]["name"] != first]

    async def follower_wants_five() -> Object | None:
        told = await installation.decisions(follower)
        return told if told["backends"]["iris-v1"]["desired"] == 5 else None

    async with loaded(url, 1) as load:
        await installation.until(lambda: ready_pods(installation, 1))
        emulation.signal(first, signal.SIGKILL)
        load.want(16)
        told = await installation.until(follower_wants_five)
        assert not told["leading"]
        await installation.until(lambda: ready_pods(installation, 5))
        assert await installation.leader() == follower["metadata"]["name"]
    assert load.failed == {}, load.details[:3]


async def test_a_leader_that_hung_wakes_up_behind_another(emulation: Emulation) -> None:
    """It writes nothing by its old term, and the API server has given up what it had under way.

    Its own clock alone holds it back: it is told late of who leads, and that one hangs in its turn, so that there is much to do.
    """
    installation, front = emulation.installation, emulation.front
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    first, terms = await installation.leader(), list[tuple[str, int]]()
    emulation.when_held(lambda holder: terms.append((holder, len(front.requests))))
    async with ApiServer.running(beside=emulation.server) as other:
        await installation.autoscaler("standby", other.url)
        async with loaded(url, 1) as load:
            await installation.until(lambda: ready_pods(installation, 1))
            begun, counts = front.counts[SCALE], emulation.watch_counts()
            front.faults.delay(HELD_UP, times=1, verb="patch", resource="deployments/scale")
            load.want(16)
            await installation.until(lambda: true(front.counts[SCALE] > begun))
            emulation.signal(first, signal.SIGSTOP)
            held = len(front.requests)
            second = await installation.until(lambda: _other_leader(emulation, first), within=17)
            await installation.until(lambda: ready_pods(installation, 5))
            load.want(1)
            await installation.until(lambda: replicas_are(installation, 1))
            assert writes(front.requests[held:]) == []

            emulation.signal(second, signal.SIGSTOP)
            hung, woken = len(other.requests), len(front.requests)
            terms.clear()
            load.want(16)
            front.faults.delay(2.4, times=2, resource="leases")
            emulation.signal(first, signal.SIGCONT)
            await installation.until(lambda: true(any(holder.startswith(first) for holder, _ in terms)))
            taken = next(requests for holder, requests in terms if holder.startswith(first))
            assert writes(front.requests[woken:taken]) == []
            emulation.signal(second, signal.SIGCONT)
            await installation.until(lambda: ready_pods(installation, 5))
            load.want(1)
            await installation.until(lambda: replicas_are(installation, 1))
            assert writes(other.requests[hung:]) == []
        await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]
    assert max(counts) == 5


async def test_what_a_hung_leader_has_under_way_does_not_come_through_later(emulation: Emulation) -> None:
    """The next one has taken the marks back by then, and the count is the one that it was: nothing but its time tells that it is too late."""
    installation, front = emulation.installation, emulation.front
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    first, loop = await installation.leader(), asyncio.get_running_loop()
    async with ApiServer.running(beside=emulation.server) as other:
        await installation.autoscaler("standby", other.url)
        async with loaded(url, 16) as load:
            await installation.until(lambda: ready_pods(installation, 5))
            begun, counts = front.counts[SCALE], emulation.watch_counts()
            front.faults.delay(HELD_UP, times=1, verb="patch", resource="deployments/scale")
            load.want(1)
            await installation.until(lambda: true(front.counts[SCALE] > begun))
            emulation.signal(first, signal.SIGSTOP)
            comes_through = loop.time() + HELD_UP
            load.want(16)
            await installation.until(lambda: _other_leader(emulation, first), within=17)
            await installation.until(lambda: _all_unmarked(emulation, 5))
            await asyncio.sleep(comes_through + 1 - loop.time())
            assert counts == [5]
            emulation.signal(first, signal.SIGCONT)
            load.want(1)
            await installation.until(lambda: replicas_are(installation, 1))
        await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]


@pytest.mark.parametrize("again", [pytest.param(False, id="once"), pytest.param(True, id="again")])
async def test_pods_are_killed_while_they_are_to_go(emulation: Emulation, again: bool) -> None:
    """Only what they had in hand is lost, and not even that where a request may be sent twice."""
    installation, killed = emulation.installation, list[str]()
    retries = {"methods": ["POST"], "budget": "100%"} if again else {}
    await installation.model(arguments=("--request-time", "500ms"))

    async def allow(most: int) -> None:
        scale = {**QUICK, "max": most}
        await installation.configure({"iris-v1": backend(scale=scale, retries=retries)}, route(iris_v1=1))

    def kill(pod: Object) -> None:
        if len(killed) < 2:
            killed.append(pod["metadata"]["name"])
            emulation.signal(killed[-1], signal.SIGKILL)

    await allow(5)
    url = await installation.start()
    async with loaded(url, 12) as load:
        await installation.until(lambda: ready_pods(installation, 5))
        emulation.when_marked(kill)
        await allow(1)
        await installation.until(lambda: replicas_are(installation, 1))
        # A request that two pods lose is given up, so those that the first two have lost are answered before the third dies.
        await _answered(emulation, load, 12)
        [last] = await installation.pods("iris-v1")
        killed.append(last["metadata"]["name"])
        emulation.signal(killed[-1], signal.SIGKILL)
        await _answered(emulation, load, 12)
    await installation.until(lambda: replicas_are(installation, 0))
    lost = sum(load.failed.values())
    assert len(killed) == 3
    assert lost <= (0 if again else 2 * len(killed)), load.details
    assert set(load.failed) <= {"502"}
    assert all('"upstream_reset"' in detail for detail in load.details), load.details


async def test_the_api_server_goes_away_between_mark_and_count(emulation: Emulation, away: float) -> None:
    """What is marked gets nothing and stays; once the server is back, the count falls as if nothing had been."""
    installation, server, front = emulation.installation, emulation.server, emulation.front
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    async with loaded(url, 16) as load:
        await installation.until(lambda: ready_pods(installation, 5))
        counts, begun = emulation.watch_counts(), front.counts[SCALE]
        front.faults.delay(5, times=1, verb="patch", resource="deployments/scale")
        load.want(1)
        await installation.until(lambda: true(front.counts[SCALE] > begun))
        await server.faults.away()
        await front.faults.away()
        answered = load.answers["200"]
        await asyncio.sleep(away)
        assert counts == [5]
        assert load.answers["200"] > answered + 10
        await server.faults.back()
        await front.faults.back()
        await installation.until(lambda: replicas_are(installation, 1))
        assert counts == sorted(counts, reverse=True)
    await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]


async def _routed(emulation: Emulation, count: int) -> bool:
    endpoints = (await emulation.installation.state())["backends"]["iris-v1"]["endpoints"]
    return sum(one["ready"] for one in endpoints) == count


async def _leads(emulation: Emulation, app: str) -> bool:
    return (await emulation.installation.leader()).startswith(app)


async def _other_leader(emulation: Emulation, first: str) -> str:
    leader = await emulation.installation.leader()
    return leader if leader != first else ""


async def _unmarked(emulation: Emulation) -> list[Object]:
    """Pods of the model that stay."""
    pods = await emulation.installation.pods("iris-v1")
    return [pod for pod in pods if DRAINING not in (pod["metadata"].get("annotations") or {})]


async def _all_unmarked(emulation: Emulation, count: int) -> bool:
    return len(await _unmarked(emulation)) == count


async def _answered(emulation: Emulation, load: Load, more: int) -> None:
    """Until so many more have been answered well."""
    wanted = load.answers["200"] + more
    await emulation.installation.until(lambda: true(load.answers["200"] >= wanted))
