"""What the API server refuses to keep: only what a client of ours could get wrong, in the real one's words. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.kube import errors
from tests.kube.kinds import dig
from tests.kube.selectors import LabelSelector

if TYPE_CHECKING:
    from tests.kube.kinds import Resource

WORKLOADS = {("apps", "deployments"), ("apps", "replicasets"), ("apps", "statefulsets")}
MICRO_TIMES = {"leases": (("spec", "acquireTime"), ("spec", "renewTime")), "events": (("eventTime",),)}
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
_MAY_CHANGE = {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"}


def validate(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Raise 400 or 422 for an object that a real server would refuse, new or in the place of `old`."""
    _check_times(resource, obj)
    if old is None and resource.group != "rbac.authorization.k8s.io":
        _check_name(resource, obj["metadata"]["name"])
    if resource.key in WORKLOADS:
        _check_workload(resource, obj, old)
    elif resource.plural == "leases":
        _check_lease(resource, obj)
    elif resource.key == ("", "events") and old is None:
        _check_event(resource, obj)
    elif resource.key == ("", "pods") and old is not None:
        _check_pod(resource, obj, old)


def _check_name(resource: Resource, name: str) -> None:
    if not _NAME.match(name):
        raise errors.invalid(resource, name, "metadata.name", f'Invalid value: "{name}": {_NAME_RULE}')


def _check_times(resource: Resource, obj: dict[str, Any]) -> None:
    """A MicroTime has six digits after the point, no more and no less: another form cannot even be read."""
    for path in MICRO_TIMES.get(resource.plural, ()):
        value = dig(obj, path)
        if value is not None and not _MICRO.match(str(value)):
            layout = "2006-01-02T15:04:05.000000Z07:00"
            why = f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "{layout}"'
            kind = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise errors.bad_request(f"{kind}: {why}")


def _check_workload(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None) -> None:
    name, spec = obj["metadata"]["name"], obj.get("spec") or {}
    selector, replicas = spec.get("selector"), spec.get("replicas", 1)
    if not selector:
        raise errors.invalid(resource, name, "spec.selector", "Required value")
    if old is not None and selector != old["spec"]["selector"]:
        raise errors.invalid(
            resource, name, "spec.selector", f"Invalid value: {selector}: field is immutable"
        )
    labels = dig(spec, ("template", "metadata", "labels")) or {}
    if not LabelSelector.of(selector).matches(labels):
        why = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise errors.invalid(resource, name, "spec.template.metadata.labels", why)
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise errors.invalid(resource, name, "spec.replicas", why)


def _check_lease(resource: Resource, obj: dict[str, Any]) -> None:
    name, spec = obj["metadata"]["name"], obj.get("spec") or {}
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        why = f"Invalid value: {duration}: must be greater than 0"
        raise errors.invalid(resource, name, "spec.leaseDurationSeconds", why)
    if transitions is not None and transitions < 0:
        why = f"Invalid value: {transitions}: must be greater than or equal to 0"
        raise errors.invalid(resource, name, "spec.leaseTransitions", why)


def _check_event(resource: Resource, obj: dict[str, Any]) -> None:
    """An Event stands in the namespace of what it is about, or in `default`; one with an eventTime says who reports and what was done."""
    metadata, about = obj["metadata"], obj.get("involvedObject") or {}
    name, where = metadata["name"], about.get("namespace", "")
    if metadata["namespace"] != (where or "default"):
        why = f'Invalid value: "{where}": does not match event.namespace'
        raise errors.invalid(resource, name, "involvedObject.namespace", why)
    if obj.get("eventTime"):
        for field in ("reportingComponent", "reportingInstance", "action", "reason"):
            if not obj.get(field):
                raise errors.invalid(resource, name, field, "Required value")
        if obj.get("type") not in {"Normal", "Warning"}:
            raise errors.invalid(resource, name, "type", f'Invalid value: "{obj.get("type", "")}": ')


def _check_pod(resource: Resource, obj: dict[str, Any], old: dict[str, Any]) -> None:
    if _fixed(obj["spec"]) != _fixed(old["spec"]):
        why = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        raise errors.invalid(resource, obj["metadata"]["name"], "spec", why)


def _fixed(spec: dict[str, Any]) -> dict[str, Any]:
    """What of a pod's spec stays as it was created."""
    kept = {key: value for key, value in spec.items() if key not in _MAY_CHANGE}
    for name in ("containers", "initContainers"):
        if name in kept:
            kept[name] = [{**container, "image": ""} for container in kept[name]]
    return kept
