"""Who listens to one object hears of that one, and who listens to all of all."""

import pytest

from gateway.kube.client import Cluster
from gateway.kube.objects import Json
from gateway.kube.watches import Watches
from tests.eventually import eventually
from tests.kube.apiserver import ApiServer
from tests.kube.objects import config_map

PATH = "/api/v1/namespaces/default/configmaps"


class Told:
    """A Listener that keeps the names it hears, and when all was there."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.settlings = 0

    def changed(self, name: str, _before: Json | None, _now: Json | None) -> None:
        self.names.add(name)

    def settled(self) -> None:
        self.settlings += 1


def view(item: Json) -> Json:
    return item


async def test_a_change_is_told_to_those_whom_it_concerns(api: ApiServer, cluster: Cluster) -> None:
    """Five hundred Backends each look at one Deployment; that all is there concerns everybody."""
    await api.apply([config_map("a"), config_map("b")])
    watches, every, one, other = Watches(cluster), Told(), Told(), Told()
    watches.add(PATH, view, every)
    watches.add(PATH, view, one, "a")
    watches.add(PATH, view, other, "c")
    await eventually(lambda: every.settlings)
    assert every.names >= {"a", "b"}
    assert one.names == {"a"}
    assert not other.names
    assert one.settlings == other.settlings == 1
    await watches.stop()


async def test_the_last_listener_ends_the_watch(api: ApiServer, cluster: Cluster) -> None:
    """Whether it listened to one object or to all."""
    watches, every, one = Watches(cluster), Told(), Told()
    watches.add(PATH, view, every)
    watches.add(PATH, view, one, "a")
    await eventually(lambda: api.faults.watches)
    watches.remove(PATH, every)
    assert PATH in repr(watches)
    watches.remove(PATH, one, "a")
    assert repr(watches) == "<Watches []>"
    await eventually(lambda: not api.faults.watches)
    with pytest.raises(KeyError):
        watches.remove(PATH, one, "a")
