"""The Lease kept on a cluster, in virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from autoscaler.cluster.lease import Lease
from autoscaler.plan import Superseded
from gateway.kube.client import ApiError
from tests.autoscaler.cluster.fakecluster import FakeCluster

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

PATH = "/apis/coordination.k8s.io/v1/namespaces/tidegate/leases/tidegate-autoscaler"


def lease(cluster: FakeCluster, identity: str = "a-1", news: list[str] | None = None) -> Lease:
    told = [] if news is None else news
    return Lease(cluster, identity, on_news=lambda: told.append(identity), chance=lambda: 1.0)  # type: ignore[arg-type]


@asynccontextmanager
async def started(*leases: Lease) -> AsyncIterator[None]:
    for each in leases:
        each.start()
    try:
        yield
    finally:
        for each in leases:
            await each.stop()


async def test_a_missing_lease_is_made_and_renewed(caplog: pytest.LogCaptureFixture) -> None:
    """The first one leads, and goes on to; that is logged once."""
    caplog.set_level(logging.INFO, "autoscaler")
    cluster = FakeCluster()
    made = lease(cluster)
    async with started(made):
        await asyncio.sleep(31)
        assert made.leads()
        assert repr(made) == "<Lease tidegate/tidegate-autoscaler: a-1 leads for 8.0 s>"
        assert cluster.objects[PATH]["spec"]["holderIdentity"] == "a-1"
        assert [record.message for record in caplog.records] == ["a-1: leading"]
    assert {line.split()[0] for line in cluster.log} == {"GET", "POST", "PUT"}


async def test_a_released_lease_is_taken_within_two_seconds() -> None:
    """Whoever stops in good order leaves no gap of ten seconds."""
    cluster = FakeCluster()
    first, second = lease(cluster, "a-1"), lease(cluster, "b-1")
    async with started(first):
        await asyncio.sleep(1)
        async with started(second):
            await asyncio.sleep(5)
            assert (first.leads(), second.leads()) == (True, False)
            await first.stop()
            assert not first.leads()
            assert cluster.objects[PATH]["spec"]["holderIdentity"] == ""
            await asyncio.sleep(2.1)
            assert second.leads()


async def test_the_second_takes_over_from_a_dead_one(caplog: pytest.LogCaptureFixture) -> None:
    """Twelve seconds after its last renewal; the dead one's word is over by then."""
    caplog.set_level(logging.INFO, "autoscaler")
    cluster = FakeCluster()
    first, second = lease(cluster, "a-1"), lease(cluster, "b-1")
    async with started(second):
        first.start()
        await asyncio.sleep(5)
        leader, other = (first, second) if first.leads() else (second, first)
        assert leader._task is not None
        leader._task.cancel()
        await asyncio.sleep(12.5)
        assert (leader.leads(), other.leads()) == (False, True)


async def test_without_the_api_server_nobody_leads(caplog: pytest.LogCaptureFixture) -> None:
    """Eight seconds after the last renewal; once it is back, leadership returns and is told."""
    caplog.set_level(logging.INFO, "autoscaler")
    cluster, news = FakeCluster(), []  # type: ignore[var-annotated]
    made = lease(cluster, news=news)
    async with started(made):
        await asyncio.sleep(5)
        cluster.away = True
        await asyncio.sleep(9)
        assert (made.leads(), made.remaining()) == (False, 0.0)
        assert repr(made) == "<Lease tidegate/tidegate-autoscaler: a-1 follows>"
        cluster.away = False
        await asyncio.sleep(2)
        assert made.leads()
    assert len(news) == 3
    assert [record.message for record in caplog.records] == [
        "a-1: leading",
        "lease tidegate/tidegate-autoscaler: connection refused; trying again",
        "a-1: no longer leading",
        "lease tidegate/tidegate-autoscaler: reached again",
        "a-1: leading",
        "a-1: no longer leading",
    ]


async def test_a_fault_of_our_own_does_not_end_the_election(caplog: pytest.LogCaptureFixture) -> None:
    """As a Lease of a form that nobody foresaw: told once with its traceback; once it can be read, it is taken."""
    cluster = FakeCluster()
    made = lease(cluster)
    cluster.put(PATH, {"metadata": {}, "spec": {"leaseDurationSeconds": "soon"}})
    async with started(made):
        await asyncio.sleep(5)
        assert not made.leads()
        (told,) = caplog.records
        assert "ValueError" in told.message
        assert told.exc_info
        cluster.put(PATH, {"metadata": {}, "spec": {}})
        await asyncio.sleep(5)
        assert made.leads()


async def test_a_short_absence_is_news_though_leadership_stays() -> None:
    """What failed meanwhile need not wait for its pause."""
    cluster, news = FakeCluster(), []  # type: ignore[var-annotated]
    made = lease(cluster, news=news)
    async with started(made):
        await asyncio.sleep(5)
        cluster.away = True
        await asyncio.sleep(4)
        cluster.away = False
        await asyncio.sleep(2)
        assert (made.leads(), len(news)) == (True, 2)


async def test_an_answer_that_was_lost_is_looked_up() -> None:
    """The Lease was written after all: it is read, found to be one's own, and led by."""
    cluster = FakeCluster()
    made = lease(cluster)
    cluster.answers = [None, None]
    async with started(made):
        await asyncio.sleep(0.1)
        cluster.lost_answers = 1
        await asyncio.sleep(6)
        assert made.leads()


async def test_a_refusal_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """What RBAC forbids does not fill the log."""
    cluster = FakeCluster()
    cluster.answers = [ApiError(403, "Forbidden", "leases is forbidden")] * 20
    made = lease(cluster)
    async with started(made):
        await asyncio.sleep(20)
        assert not made.leads()
    assert [record.message for record in caplog.records] == [
        "lease tidegate/tidegate-autoscaler: leases is forbidden; trying again"
    ]


async def test_a_renewal_that_stopping_cut_off_does_not_keep_the_lease() -> None:
    """The version known is an old one then; the Lease is read again and released."""
    cluster = FakeCluster()
    made = lease(cluster)
    async with started(made):
        await asyncio.sleep(0.1)
        cluster.put(PATH, {**cluster.objects[PATH], "metadata": {}})
        await made.stop()
    assert cluster.objects[PATH]["spec"]["holderIdentity"] == ""


async def test_a_write_is_bounded_by_the_leaders_time() -> None:
    """Whoever does not lead begins none."""
    made = lease(FakeCluster())
    with pytest.raises(Superseded, match="another autoscaler leads"):
        await made.write(_never)
    given: list[float] = []

    async def request(left: float) -> str:
        given.append(left)
        return "done"

    async with started(made):
        await asyncio.sleep(3)
        assert await made.write(request) == "done"
    assert given == [8.0]


async def test_a_write_that_nobody_waits_for_any_more_ends_before_the_lease_is_released() -> None:
    """It may still get through, so nobody else may lead meanwhile."""
    cluster = FakeCluster()
    made = lease(cluster)
    ended = asyncio.Event()

    async def request(left: float) -> None:
        await asyncio.sleep(left - 1)
        assert cluster.objects[PATH]["spec"]["holderIdentity"] == "a-1"
        ended.set()

    async with started(made):
        await asyncio.sleep(1)
        writer = asyncio.create_task(made.write(request))
        await asyncio.sleep(1)
        writer.cancel()
        await made.stop()
        assert ended.is_set()
    assert cluster.objects[PATH]["spec"]["holderIdentity"] == ""


async def _never(_: float) -> None:
    pytest.fail("a write was begun")
