"""Makes the Scalers of all targets that are in the cluster, and holds what these share.

An object with a scale is scaled; of a Service the pods are only looked at, others scale them. What the configuration names no more is
left as it is, without our marks. Neighbours: `server` calls this; `gateway.kube.discovery` follows the targets.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from autoscaler.cluster.events import Events
from autoscaler.cluster.lease import Lease
from autoscaler.cluster.pulls import Pulls
from autoscaler.cluster.scaler import ClusterScaler
from autoscaler.cluster.waking import Waking
from autoscaler.decision import Decision
from autoscaler.plan import Scaler, Superseded, Unknown
from autoscaler.scalers import FixedScaler
from gateway.endpoints import Feed
from gateway.kube.client import ClusterError
from gateway.kube.discovery import Discovery, View
from gateway.kube.slices import endpoints_of
from gateway.targets import ClusterTarget, ScaleTarget, ServiceTarget

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Scaled:
    """One Backend whose pods are scaled here."""

    name: str
    target: ScaleTarget
    thing: ScaleTarget
    """The object alone: in the namespace where it is looked for, whatever its pods' port."""
    scaler: ClusterScaler
    waking: Waking


class ClusterTargets:
    """By Backend; `put` again what a reload names, `drop` what it names no more."""

    def __init__(self, discovery: Discovery, lease: Lease, on_view: Callable[[str], None]) -> None:
        """`on_view` is told the name of a Backend of whose pods there is news."""
        self._on_view = on_view
        self._discovery = discovery
        self._lease = lease
        self._events = Events(discovery.cluster, lease)
        self._pulls = Pulls(discovery.cluster, lease)
        self._scaled: dict[str, _Scaled] = {}
        self._claims: dict[ScaleTarget, list[str]] = {}
        """Which Backends name an object; the first has it."""
        self._services: dict[str, tuple[ServiceTarget, FixedScaler]] = {}
        self._leaving: dict[asyncio.Task[None], ScaleTarget] = {}
        """Objects whose pods' marks are being taken back."""

    def put(self, name: str, target: ClusterTarget, activation_timeout: float) -> Scaler:
        """The Scaler of `target`: the one it has, while that is the Backend's."""
        if isinstance(target, ServiceTarget):
            return self._service(name, target)
        known = self._scaled.get(name)
        if known is None or known.target != target:
            self.drop(name)
            known = self._scaled[name] = self._follow(name, target, activation_timeout)
        known.waking.timeout = activation_timeout
        return known.scaler

    def decided(self, name: str, decision: Decision) -> None:
        """Tell of what keeps pods from getting ready, and keep the reason for what is done next."""
        known, view = self._scaled.get(name), self._discovery.view(name)
        if known is None:
            return
        known.scaler.reason = decision.reason
        overdue = known.waking.overdue(decision.observed, decision.at)
        if view is None or view.workload is None:
            return
        if decision.observed.changed is not None:
            self._events.changed(view.workload, decision.observed.changed)
        if view.cannot_start:
            self._events.warn(view.workload, "CannotStart", view.cannot_start)
        elif overdue:
            why = f": {view.pending}" if view.pending else ""
            text = f"no pod was ready after {known.waking.timeout:g} s, while requests waited{why}"
            self._events.warn(view.workload, "ActivationTimeout", text)

    def view(self, name: str) -> View | Unknown:
        """What is known of a target now, be it scaled or only looked at."""
        return self._discovery.view(name) or Unknown(self._discovery.missing(name))

    def drop(self, name: str) -> None:
        """Look after it no longer; its marks are taken back in the background."""
        self._services.pop(name, None)
        known = self._scaled.pop(name, None)
        if known is not None and self._disclaim(name, known.thing):
            self._tell_farewell(name, known.thing)
            # Its pods are found out now, before the discovery forgets them.
            task = asyncio.get_running_loop().create_task(_unmark(name, known.scaler.leave()))
            self._leaving[task] = known.thing
            task.add_done_callback(self._leaving.pop)
        self._discovery.forget(name)

    async def stop(self) -> None:
        """Write nothing more; what is known of the cluster goes on being known."""
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._events.stop()
        await self._pulls.stop()

    def _follow(self, name: str, target: ScaleTarget, timeout: float) -> _Scaled:
        discovery = self._discovery
        discovery.follow(name, target, lambda: self._on_view(name))
        thing = replace(target, namespace=target.namespace or discovery.cluster.namespace, port=0)

        def view() -> View | None:
            return None if self._obstacle(name, thing) else discovery.view(name)

        def missing() -> str:
            return self._obstacle(name, thing) or discovery.missing(name)

        scaler = ClusterScaler(
            discovery.cluster, self._lease, self._events, self._pulls, view=view, missing=missing
        )
        self._claims.setdefault(thing, []).append(name)
        return _Scaled(name, target, thing, scaler, Waking(timeout))

    def _disclaim(self, name: str, thing: ScaleTarget) -> bool:
        """Whether no other Backend names the object."""
        names = self._claims[thing]
        names.remove(name)
        if not names:
            del self._claims[thing]
        return not names

    def _tell_farewell(self, name: str, thing: ScaleTarget) -> None:
        """Its pods stay, which nobody would guess from what becomes of local ones."""
        view = self._discovery.view(name)
        count = f" at {view.workload.replicas}" if view and view.workload else ""
        logger.info("%s is no longer scaled: %s stays%s", name, thing.named(thing.namespace or ""), count)

    def _obstacle(self, name: str, thing: ScaleTarget) -> str:
        """Why nothing may be done to an object for this Backend yet."""
        if thing in self._leaving.values():
            return "its pods' marks are being taken back"
        owner = self._claims.get(thing, [name])[0]
        if owner == name:
            return ""
        return f"{thing.named(thing.namespace or '')} is scaled by backend {owner} already"

    def _service(self, name: str, target: ServiceTarget) -> FixedScaler:
        known = self._services.get(name)
        if known is not None and known[0] == target:
            return known[1]
        self.drop(name)
        feed = Feed(name)
        self._discovery.follow(name, target, lambda: self._publish(name, target, feed))
        scaler = FixedScaler(None, feed)
        self._services[name] = target, scaler
        return scaler

    def _publish(self, name: str, target: ServiceTarget, feed: Feed) -> None:
        view = self._discovery.view(name)
        if view is not None:
            feed.publish(endpoints_of(view.slices, target.port))
            self._on_view(name)

    def __repr__(self) -> str:
        return f"<ClusterTargets {len(self._scaled)} scaled, {len(self._services)} services, {self._lease}>"


async def _unmark(name: str, leaving: Coroutine[Any, Any, None]) -> None:
    try:
        await leaving
    except Superseded:
        pass  # the leader does it
    except ClusterError as error:
        logger.warning("%s: marks of draining pods were not taken back: %s", name, error)
