"""The stage of this load test: the API server, and gateways in front of it, whose Backends are in the cluster, at fixed URLs, or not there."""

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.cluster import shapes
from loadtests.cluster.emulated import Emulation
from loadtests.common import Child, Children, get_text
from loadtests.fleet import FIRST_POD, Fleet

REPLICAS = 4
ADDRESS = str(FIRST_POD)
"""Of all pods."""
CONFIG = """\
listen: {listen}
admin: {admin}
backends:
  probed: {{target: {{urls: ['http://{probed}']}}}}
{backends}
routes:
  - {{name: probed, hosts: [model-0.example.com], paths: [/v1/models/model-0], split: {{probed: 1}}}}
{routes}
"""
ROUTE = "  - {{name: {name}, hosts: [{name}.example.com], paths: [/v1/models/{name}], split: {{{name}: 1}}}}"


@dataclass(slots=True)
class Stage:
    """What all parts need."""

    children: Children
    fleet: Fleet
    nginx: Child
    emulation: Emulation
    ports: Mapping[int, int]
    """Of each Deployment's pods."""
    own: int
    """The gateway's core."""
    other: int
    options: argparse.Namespace
    gateways: int = 0
    findings: list[str] = field(default_factory=list)
    """What went wrong, rather than slowly."""

    def save(self, kind: str) -> Path:
        """Write the configuration with Backends in the `cluster`, at `fixed` URLs, or with `none`."""
        lines = {
            "cluster": "  {name}: {{target: {{deployment: {name}, namespace: {space}, port: {port}}}}}",
            "fixed": "  {name}: {{target: {{urls: [{urls}]}}}}",
        }
        chosen = self.ports if kind in lines else {}
        named = [(shapes.name_of(number), port) for number, port in chosen.items()]
        backends = [
            lines[kind].format(name=name, space=shapes.NAMESPACE, port=port, urls=urls(port))
            for name, port in named
        ]
        routes = [ROUTE.format(name=name) for name, _ in named]
        text = CONFIG.format(
            listen=self.fleet.listen,
            admin=self.fleet.admin,
            probed=self.fleet.pod(0),
            backends="\n".join(backends),
            routes="\n".join(routes),
        )
        new = self.fleet.config.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.fleet.config)
        return self.fleet.config

    @contextmanager
    def gateway(self, kind: str) -> Iterator[Child]:
        """A new one, until the end of the block."""
        gateway = self.children.tidegate("gateway", self.save(kind), core=self.own)
        try:
            yield gateway
        finally:
            gateway.end()
            log = gateway.output()
            self.findings += [line for line in log.splitlines() if "Traceback" in line or " ERROR " in line]

    def ready(self) -> int:
        """How many of the Deployments' pods the gateway has ready."""
        text = get_text(self.fleet.admin, "/metrics")
        counts = re.findall(
            r'^tidegate_endpoints\{backend="model-\d+",state="ready"\} (\d+)', text, re.MULTILINE
        )
        return sum(map(int, counts))

    def synced(self) -> bool:
        return self.ready() == self.emulation.pods


def urls(port: int) -> str:
    return ", ".join(f"'http://{FIRST_POD + number}:{port}'" for number in range(REPLICAS))
