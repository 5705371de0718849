"""What a request is about, from its method and its path: the attributes by which it is authorised, recorded and answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kube.errors import no_such_path, not_allowed

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_MANY = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_OF_A_NAMESPACE = {"status", "finalize"}


@dataclass(frozen=True, slots=True)
class Target:
    verb: str
    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def full_resource(self) -> str:
        """As RBAC writes it: `deployments/scale`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def parse(method: str, path: str, query: Mapping[str, str]) -> Target:
    """The target of a request below /api/v1 or /apis/GROUP/VERSION."""
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _OF_A_NAMESPACE):
        namespace, rest = rest[1], rest[2:]
    elif len(rest) > 1 and rest[0] == "namespaces":
        namespace = rest[1]
    if not 1 <= len(rest) <= 3:
        raise no_such_path()
    plural, name, subresource = (*rest, "", "")[:3]
    verbs = _ONE if name else _MANY
    if method not in verbs or (method == "POST" and name and not subresource):
        raise not_allowed()
    verb = verbs[method]
    if verb == "list" and query.get("watch") in {"1", "true", "True"}:
        verb = "watch"
    if verb in {"list", "watch"}:
        name = _named(query.get("fieldSelector", ""))
    return Target(verb, group, version, plural, namespace, name, subresource)


def _named(fields: str) -> str:
    """A list of one name is authorised as a request for it."""
    for part in fields.split(","):
        field, _, value = part.partition("=")
        if field == "metadata.name":
            return value.lstrip("=")
    return ""
