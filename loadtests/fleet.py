"""A thousand routes and backends: a gateway's configuration and the pods behind it, for the questions that size asks.

Each backend has a pod of its own at an address of its own in 127.1.0.0/16; all of them are one nginx, which answers everything with
the same small JSON. Each route has a host, two paths and a split 90/10 over its own backend and the next one. There is another such
configuration for the same requests, in which every route, and every backend, differs in more than its weights, and half of the backends are others.
"""

import os
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from loadtests.common import HOST, Child, Children, find_tool, free_port, wait_ready, wait_until

FIRST_POD = IPv4Address("127.1.0.1")
BODY = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
ANSWER = '{"model_name":"iris","model_version":"v1","predictions":[0,1,2]}'

NGINX = """\
daemon off;
pid {folder}/pods.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/pods-body;
    default_type application/json;
    server {{
        {listens}
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""
CONFIG = """\
listen: {listen}
admin: {admin}
defaults:
  timeouts: {{head: 10s, connect: 5s, response: 300s, idle: 300s, request: 600s}}
backends:
{backends}
routes:
{routes}
"""
BACKEND = "  {name}: {{target: {{urls: ['{url}']}}, concurrency: 64, queue: {{depth: 200, timeout: 30s}}}}"
ROUTE = """\
  - name: model-{n}
    hosts: [model-{n}.example.com]
    paths: [/v1/models/model-{n}, /v2/models/model-{n}]
    split: {{{own}: {weight}, {other}: {rest}}}"""
OTHER_BACKEND = """\
  {name}:
    target: {{urls: ['{url}']}}
    concurrency: 48
    queue: {{depth: 100, timeout: 20s, fairness: round_robin}}
    ejection: {{consecutive_5xx: 5}}"""
OTHER_ROUTE = """\
  - name: model-{n}
    hosts: [model-{n}.example.com, '*.model-{n}.example.com']
    paths: [/v1/models/model-{n}, /v3/models/model-{n}]
    split: {{{own}: {rest}, {other}: {weight}}}
    rules: [{{headers: {{x-cohort: beta}}, split: {{{other}: 1}}}}]
    tags: {{canary: {other}}}
    request_headers: {{set: {{x-model: model-{n}}}}}
    priority: {{header: x-priority, trust: true}}
    tenant: {{header: x-tenant, trust: true}}"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many routes and as many backends, and where the gateway in front of them listens."""

    folder: Path
    size: int
    listen: str
    admin: str
    pod_port: int

    @property
    def config(self) -> Path:
        return self.folder / "fleet.yaml"

    def pod(self, number: int) -> str:
        """Host and port of one backend's pod."""
        return f"{FIRST_POD + number}:{self.pod_port}"

    def save(self, weight: int = 90, *, other: bool = False) -> None:
        """Write the configuration as editors do, a new file in the old one's place; another `weight` changes every route, `other` all there is."""
        names = [f"other-{n}" if other and n % 2 else f"model-{n}" for n in range(self.size)]
        backend, route = (OTHER_BACKEND, OTHER_ROUTE) if other else (BACKEND, ROUTE)
        backends = (backend.format(name=name, url=f"http://{self.pod(n)}") for n, name in enumerate(names))
        routes = (
            route.format(n=n, own=name, other=names[(n + 1) % self.size], weight=weight, rest=100 - weight)
            for n, name in enumerate(names)
        )
        text = CONFIG.format(
            listen=self.listen, admin=self.admin, backends="\n".join(backends), routes="\n".join(routes)
        )
        new = self.config.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, self.config)  # noqa: PTH105 (the same call, but it says what it does)

    @staticmethod
    def request(number: int) -> bytes:
        """A prediction for one route, head and body in one piece."""
        head = f"POST /v1/models/model-{number}:predict HTTP/1.1\r\nHost: model-{number}.example.com\r\n"
        return head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            len(BODY),
            BODY,
        )


def start_pods(children: Children, size: int, core: int) -> tuple[Fleet, Child]:
    """Start the pods, and tell of the Fleet whose configuration is to be saved."""
    fleet = Fleet(children.folder, size, f"{HOST}:{free_port()}", f"{HOST}:{free_port()}", free_port())
    listens = "\n        ".join(f"listen {fleet.pod(n)} backlog=4096;" for n in range(size))
    config = children.folder / "pods.nginx.conf"
    config.write_text(NGINX.format(folder=children.folder, files=size + 8192, listens=listens, answer=ANSWER))
    command: list[str | Path] = [
        find_tool("nginx", "nginx-light"), "-p", children.folder, "-c", config, "-e", "stderr",
    ]  # fmt: skip
    pods = children.start("pods", command, core)
    wait_until((children.folder / "pods.pid").exists, 10, "the pods were up")
    pods.check()
    return fleet, pods


def start_gateway(children: Children, fleet: Fleet, core: int) -> Child:
    """`tidegate gateway` on the Fleet's configuration, as users run it."""
    gateway = children.tidegate("gateway", fleet.config, core=core)
    wait_ready(gateway, fleet.admin, timeout=30)
    return gateway
