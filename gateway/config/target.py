"""The `target` section: where a Backend's pods come from.

A cluster's object or Service, a command that is run for each pod, or fixed URLs. One of the first may stand beside a command: then
`tidegate up` runs the command, and a gateway or an autoscaler of its own goes by the cluster.
Neighbours: `models` holds it in a Backend; `gateway.targets` is what a cluster's target becomes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    Strict,
    StringConstraints,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from gateway.config.addresses import Address, HttpUrl, PodUrl
from gateway.config.problems import UP, KeyPath, fault, faults, show
from gateway.config.section import Section
from gateway.config.tls import PodTls
from gateway.targets import ClusterTarget, ScaleTarget, ServiceTarget

T = TypeVar("T")

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*\z")]
Variable = Annotated[str, StringConstraints(pattern=r"^[^\x00]*\z")]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\z")]
"""As Kubernetes takes it: small letters, digits, `-` and `.`."""
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")]
_PORT_NAME = re.compile(r"[a-z0-9-]{1,15}")
_LAST_PORT = 65535
_Lax = Strict(strict=False)

SCALED = ("deployment", "statefulset", "scale_target_ref")
IN_CLUSTER = (*SCALED, "service")


def parse_port(value: object) -> int | str:
    """A number, or the name of a port of a Service."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise fault(f"must be a port's number or name, got {show(value)}")
    if isinstance(value, str):
        if not _PORT_NAME.fullmatch(value):
            raise fault(f"{show(value)} is not a port's name: up to 15 small letters, digits and `-`")
        if value.isdigit():
            raise fault(f"{show(value)} is a number: write it without quotes")
    elif not 1 <= value <= _LAST_PORT:
        raise fault(f"must be between 1 and {_LAST_PORT}, got {value}")
    return value


Port = Annotated[
    int | str,
    PlainValidator(parse_port),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": _LAST_PORT},
                {"type": "string", "pattern": r"^[a-z0-9-]{1,15}$"},
            ]
        }
    ),
]


class ScaleTargetRef(Section):
    """Any object with a scale subresource, as a HorizontalPodAutoscaler names it."""

    api_version: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9.-]+/)?v[a-z0-9]+\z"), Field(alias="apiVersion")
    ]
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*\z")]
    name: ObjectName


class GatewayService(Section):
    """The headless Service of the gateways' admin ports."""

    service: ObjectName
    namespace: Namespace | None = None
    """When left out: the autoscaler's own."""
    port: Port | None = None
    """The number of the gateways' admin port, or the name of the Service's port. When left out: its only one."""

    @property
    def target(self) -> ServiceTarget:
        return ServiceTarget(self.service, self.namespace, self.port)


def _gateways_kind(value: object) -> str:
    return "service" if isinstance(value, dict | GatewayService) else "urls"


Gateways = Annotated[
    Annotated[GatewayService, Tag("service")]
    | Annotated[tuple[HttpUrl, ...], Strict(strict=False), Tag("urls")],
    Discriminator(_gateways_kind),
]
"""URLs, or the Service whose endpoints they are."""


class Target(Section):
    """Where a Backend's pods come from: a cluster, a command, both (`tidegate up` runs the command), or fixed URLs."""

    deployment: ObjectName | None = None
    """The Deployment whose replicas are the pods."""
    statefulset: ObjectName | None = None
    """The StatefulSet whose replicas are the pods."""
    scale_target_ref: ScaleTargetRef | None = None
    """Another object with a scale subresource."""
    service: ObjectName | None = None
    """A Service whose pods others scale."""
    namespace: Namespace | None = None
    """Where the object is. When left out: the gateway's own namespace, or that of the kubeconfig's context."""
    port: Port | None = None
    """The port that the pods listen on. Of a Service also its port's name; left out, its only port."""
    command: Annotated[tuple[Text, ...], _Lax] | None = None
    """The program to run for each pod, and its arguments; `{port}` is replaced by the port to listen on."""
    env: dict[Text, Variable] = Field(default_factory=dict)
    """Variables to add to the command's environment; `{port}` is replaced here too."""
    ready: Annotated[str, StringConstraints(pattern=r"^/[!-~]*\z")] | None = None
    """The path that answers 2xx once a command's pod is ready. When left out: a pod is ready when it accepts connections."""
    urls: Annotated[tuple[PodUrl, ...], _Lax] | None = Field(default=None, validate_default=True)
    """The pods themselves, when something else runs them."""
    tls: PodTls | None = None
    """How pods behind https URLs are verified. When left out: against the system's CAs, by the URL's host."""

    @field_validator("namespace", "port")
    @classmethod
    def _of_a_cluster(cls, value: T, info: ValidationInfo) -> T:
        """A key that is missing from the data was given, but wrong."""
        if value is not None and all(info.data.get(key, "") is None for key in IN_CLUSTER):
            raise fault(f"belongs to a {listed(IN_CLUSTER)}, and the target has none")
        return value

    @field_validator("env")
    @classmethod
    def _env_of_command(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        wrong: list[KeyPath] = [(key,) for key in value if "=" in key]
        if wrong:
            raise faults([(path, "a variable's name may not hold `=`") for path in wrong])
        return _of_command(value, info.data)

    @field_validator("ready")
    @classmethod
    def _ready_of_command(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _of_command(value, info.data)

    @field_validator("urls")
    @classmethod
    def _one_kind(cls, value: tuple[Address, ...] | None, info: ValidationInfo) -> tuple[Address, ...] | None:
        found = [*_cluster_faults(info.data), *_command_faults(info.data), *_url_faults(value, info.data)]
        if found:
            raise faults(found)
        return value

    @field_validator("tls")
    @classmethod
    def _tls_of_https(cls, value: PodTls | None, info: ValidationInfo) -> PodTls | None:
        if value is not None and "urls" in info.data and not any(u.secure for u in info.data["urls"] or ()):
            raise fault("belongs to https URLs, and the target has none")
        return value

    @property
    def secure(self) -> bool:
        """Its pods are spoken to over TLS."""
        return self.urls is not None and self.urls[0].secure

    @property
    def cluster(self) -> ClusterTarget | None:
        """What it is in a cluster; None when it is nothing there."""
        if self.service is not None:
            return ServiceTarget(self.service, self.namespace, self.port)
        ref = self.scale_target_ref
        if ref is not None:
            api_version, kind, name = ref.api_version, ref.kind, ref.name
        elif self.statefulset is not None:
            api_version, kind, name = "apps/v1", "StatefulSet", self.statefulset
        elif self.deployment is not None:
            api_version, kind, name = "apps/v1", "Deployment", self.deployment
        else:
            return None
        return ScaleTarget(api_version, kind, name, self.namespace, int(self.port or 0))

    @property
    def startable(self) -> bool:
        """Somebody here can start its pods."""
        return self.command is not None or isinstance(self.cluster, ScaleTarget)


def listed(names: tuple[str, ...]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _of_command(value: T, data: Mapping[str, Any]) -> T:
    """Refuse a value beside which no command was given; one that is missing from `data` was given, but wrong."""
    if value is not None and "command" in data and data["command"] is None:
        raise fault("belongs to a command, and the target has none")
    return value


def _given(data: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Those of `keys` that the file has, be they right or wrong."""
    return [key for key in keys if data.get(key, "") is not None]


def _cluster_faults(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    given = _given(data, IN_CLUSTER)
    if len(given) > 1:
        yield (UP, given[1]), f"cannot stand beside `{given[0]}`: a backend's pods have one owner"
    if not given or given[0] == "service" or "port" not in data:
        return
    if data["port"] is None:
        yield (UP,), "required key 'port' is missing: the port that the pods listen on"
    elif isinstance(data["port"], str):
        yield (UP, "port"), "must be a number: only a Service's ports have names"


def _command_faults(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    command = data.get("command")
    if command is None:
        return
    if not command:
        yield (UP, "command"), "must name a program"
    elif not any("{port}" in text for text in (*command, *data.get("env", {"": "{port}"}).values())):
        yield (UP, "command"), "must hold `{port}` where the port to listen on goes, here or in `env`"


def _url_faults(urls: tuple[Address, ...] | None, data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    others = _given(data, (*IN_CLUSTER, "command"))
    if urls is None:
        if not others:
            yield (UP,), f"must have `{'`, `'.join(IN_CLUSTER)}`, `command` or `urls`"
        return
    if others:
        yield (), f"cannot stand beside `{others[0]}`"
    if not urls:
        yield (), "must not be empty"
    first = {url: i for i, url in reversed(list(enumerate(urls)))}
    yield from (((i,), f"{url.url} is given twice") for i, url in enumerate(urls) if first[url] != i)
    mixed = (i for i, url in enumerate(urls) if url.secure != urls[0].secure)
    yield from (((i,), "must have the scheme of the target's first URL") for i in mixed)
