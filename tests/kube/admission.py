"""What the API server makes of an object before it keeps it: checks, defaults, and a pod's service account and quota. Pure."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from tests.kube import errors
from tests.kube.selectors import LabelSelector

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.kinds import Resource
    from tests.kube.store import Store

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 (a path)
ROOT_CA = "kube-root-ca.crt"
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_NAME_RULE = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
_WORKLOADS = {"deployments", "replicasets", "statefulsets"}


class Admission:
    """Given to `Store.admission`. `quotas` holds the number of pods that a namespace may have."""

    def __init__(self) -> None:
        self.quotas: dict[str, int] = {}

    def __call__(self, store: Store, resource: Resource, obj: dict[str, Any], old: Record | None) -> None:
        """Check and complete a new object, or one that is to take the place of `old`."""
        if old is not None:
            _update(store, resource, obj, old.obj)
            return
        metadata = obj["metadata"]
        if resource.group != "rbac.authorization.k8s.io" and not _NAME.match(metadata["name"]):
            raise errors.invalid(
                resource,
                metadata["name"],
                "metadata.name",
                f'Invalid value: "{metadata["name"]}": {_NAME_RULE}',
            )
        if resource.namespaced:
            _check_namespace(store, resource, metadata)
        if resource.plural in _WORKLOADS and resource.group == "apps":
            _check_selector(resource, obj)
        if defaults := _DEFAULTS.get(resource.qualified):
            defaults(store, obj)
        if resource.key == ("", "pods"):
            self._count(store, resource, obj)

    def _count(self, store: Store, resource: Resource, pod: dict[str, Any]) -> None:
        namespace = pod["metadata"]["namespace"]
        limit = self.quotas.get(namespace)
        if limit is None:
            return
        phases = [
            (record.obj.get("status") or {}).get("phase") for record in store.records("pods", namespace)
        ]
        used = sum(phase not in {"Succeeded", "Failed"} for phase in phases)
        if used + 1 > limit:
            why = f"exceeded quota: quota, requested: pods=1, used: pods={used}, limited: pods={limit}"
            raise errors.forbidden(resource, pod["metadata"]["name"], why)

    def __repr__(self) -> str:
        return f"<Admission with quotas {self.quotas}>"


def _update(store: Store, resource: Resource, obj: dict[str, Any], old: dict[str, Any]) -> None:
    if resource.plural in _WORKLOADS and resource.group == "apps":
        name, selector = obj["metadata"]["name"], obj["spec"].get("selector")
        if selector != old["spec"].get("selector"):
            raise errors.invalid(
                resource, name, "spec.selector", f"Invalid value: {selector}: field is immutable"
            )
        _check_selector(resource, obj)
    if resource.qualified in _ON_UPDATE:
        _DEFAULTS[resource.qualified](store, obj)


def _check_namespace(store: Store, resource: Resource, metadata: dict[str, Any]) -> None:
    namespace = metadata.get("namespace", "")
    found = store.record("namespaces", "", namespace)
    if "deletionTimestamp" in found.obj["metadata"]:
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise errors.forbidden(resource, metadata["name"], why)


def _check_selector(resource: Resource, obj: dict[str, Any]) -> None:
    name, spec = obj["metadata"]["name"], obj.get("spec") or {}
    if not spec.get("selector"):
        raise errors.invalid(resource, name, "spec.selector", "Required value")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not LabelSelector.of(spec["selector"]).matches(labels):
        why = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise errors.invalid(resource, name, "spec.template.metadata.labels", why)


def _namespace(_store: Store, obj: dict[str, Any]) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", obj["metadata"]["name"])
    obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
    obj["status"] = {"phase": "Active"}


def _workload(_store: Store, obj: dict[str, Any]) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    _pod_defaults(spec["template"].setdefault("spec", {}))


def _deployment(store: Store, obj: dict[str, Any]) -> None:
    _workload(store, obj)
    spec = obj["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _stateful_set(store: Store, obj: dict[str, Any]) -> None:
    _workload(store, obj)
    spec = obj["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)


def _pod_defaults(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        tagged = ":" in container.get("image", "").rpartition("/")[2]
        container.setdefault("imagePullPolicy", "IfNotPresent" if tagged else "Always")
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            if name in container:
                _probe_defaults(container[name])


def _probe_defaults(probe: dict[str, Any]) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _pod(store: Store, obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    _pod_defaults(spec)
    account = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = account
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    found = store.find("serviceaccounts", obj["metadata"]["namespace"], account)
    if found is None and account != "default":
        why = f'error looking up service account {obj["metadata"]["namespace"]}/{account}: serviceaccount "{account}" not found'
        raise errors.forbidden(store.registry.named("pods"), obj["metadata"]["name"], why)
    wanted = (found.obj if found else {}).get("automountServiceAccountToken", True)
    if spec.get("automountServiceAccountToken", wanted):
        _mount_token(store, spec)
    obj["status"] = {"phase": "Pending", "qosClass": "Burstable" if _requests(spec) else "BestEffort"}


def _requests(spec: dict[str, Any]) -> bool:
    return any((container.get("resources") or {}) for container in spec.get("containers") or ())


def _mount_token(store: Store, spec: dict[str, Any]) -> None:
    """As the ServiceAccount admission does: a projected volume in every container that has nothing there."""
    without = [
        container
        for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        if all(mount["mountPath"] != TOKEN_PATH for mount in container.get("volumeMounts") or ())
    ]
    if not without:
        return
    name = f"kube-api-access-{store.letters(5)}"
    for container in without:
        container.setdefault("volumeMounts", []).append(
            {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
        )
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    spec.setdefault("volumes", []).append(
        {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    )


def _service(store: Store, obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] != "ExternalName":
        address = f"10.96.{store.chance.randrange(256)}.{store.chance.randrange(1, 255)}"
        spec.setdefault("clusterIP", address)
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    obj["status"] = {"loadBalancer": {}}


def _secret(_store: Store, obj: dict[str, Any]) -> None:
    obj.setdefault("type", "Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _definition(_store: Store, obj: dict[str, Any]) -> None:
    names = obj["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    conditions = [
        {"type": kind, "status": "True", "reason": reason}
        for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
    ]
    stored = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
    obj["status"] = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}


_ON_UPDATE = {"deployments.apps", "replicasets.apps", "statefulsets.apps"}
_DEFAULTS = {
    "namespaces": _namespace,
    "pods": _pod,
    "services": _service,
    "secrets": _secret,
    "deployments.apps": _deployment,
    "replicasets.apps": _workload,
    "statefulsets.apps": _stateful_set,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
