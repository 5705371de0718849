"""An autoscaler's one link to its cluster: who leads, what is there, what is scaled, and where the gateways are.

`server` begins it when a configuration first needs it, and keeps it until the end. Neighbours: `targets`, `lease`, `gateway.kube`.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable

from autoscaler.cluster.events import Events
from autoscaler.cluster.inference.controller import InferenceServices
from autoscaler.cluster.inference.terms import terms_of
from autoscaler.cluster.lease import Lease
from autoscaler.cluster.targets import ClusterTargets
from gateway.config import Address, Config
from gateway.kube.client import Cluster
from gateway.kube.discovery import Discovery, View
from gateway.kube.slices import endpoints_of
from gateway.targets import ServiceTarget

logger = logging.getLogger(__name__)

_GATEWAYS = "the gateways"
"""What their Service is followed as; no Backend has such a name."""


class ClusterLink:
    """`stop` it once nothing is acted on any more."""

    def __init__(
        self, cluster: Cluster, identity: str, on_news: Callable[[], object], on_view: Callable[[str], None]
    ) -> None:
        """`on_news` is called when what failed before may work now, `on_view` with the name of a Backend of whose pods there is news."""
        self.cluster = cluster
        self._discovery = Discovery(cluster)
        self.lease = Lease(cluster, identity, on_news=on_news)
        self.targets = ClusterTargets(self._discovery, self.lease, self._viewed)
        self._on_view = on_view
        self._inference: InferenceServices | None = None
        self._documents_left_out: dict[str, str] = {}
        self._lack = ""
        """Why there are no gateways."""

    @classmethod
    def begin(
        cls, cluster: Cluster, on_news: Callable[[], object], on_view: Callable[[str], None]
    ) -> "ClusterLink":
        """Stand for election from now on, as one unlike any other."""
        link = cls(cluster, _identity(), on_news, on_view)
        link.lease.start()
        return link

    async def run_inference_services(self, config: Config) -> None:
        """Those that `config` wants, as it wants them; none when it says nothing of them: then what was made of them stays."""
        terms = terms_of(config)
        if self._inference is not None and terms is not None:
            await self._inference.reconfigure(terms)
        elif self._inference is not None:
            await self._inference.stop()
            self._inference = None
        elif terms is not None:
            events = Events(self.cluster, self.lease)
            self._inference = InferenceServices(
                self.cluster, self.lease, events, self._cannot_start, terms, left_out=self._left_out
            )

    def left_out(self, reasons: dict[str, str]) -> None:
        """These documents are not in force as they are written, as is told of their InferenceServices."""
        changed = reasons != self._documents_left_out
        self._documents_left_out = reasons
        if changed and self._inference is not None:
            self._inference.look_again()

    def _left_out(self, document: str) -> str | None:
        return self._documents_left_out.get(document)

    def _cannot_start(self, backend: str) -> str | None:
        view = self.targets.view(backend)
        return view.cannot_start if isinstance(view, View) else None

    def _viewed(self, backend: str) -> None:
        self._on_view(backend)
        if self._inference is not None:
            self._inference.found(backend)

    def follow_gateways(self, service: ServiceTarget | None, told: Callable[[list[str]], object]) -> None:
        """Tell of the URLs of the gateways behind `service`, now and as they change; None: of none."""
        if service is None:
            self._discovery.forget(_GATEWAYS)
        else:
            self._discovery.follow(_GATEWAYS, service, lambda: self._tell(service, told))
            self._tell(service, told)

    def _tell(self, service: ServiceTarget, told: Callable[[list[str]], object]) -> None:
        view = self._discovery.view(_GATEWAYS)
        if view is not None:
            lack = view.pending or ""
            if lack and lack != self._lack:
                logger.warning("no gateways are known: %s", lack)
            self._lack = lack
            told([Address(at.host, at.port).url for at in endpoints_of(view.slices, service.port)])

    async def stop(self) -> None:
        """Hand the leadership over, and cease to know anything."""
        if self._inference is not None:
            await self._inference.stop()
        await self.targets.stop()
        await self.lease.stop()
        await self._discovery.stop()
        await self.cluster.close()

    def __repr__(self) -> str:
        return f"<ClusterLink {self.cluster} {self.targets}>"


def _identity() -> str:
    """The pod's name, as `deploy/` hands it on, and something that no other life of it has."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}-{secrets.token_hex(3)}"
