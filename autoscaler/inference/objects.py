"""The objects of an InferenceService: Deployments, Services, HorizontalPodAutoscalers, complete but for what the server sets.

A core. A revision's Deployment keeps the template that it was made with: what a pod is, is in its name, and neither a newer Tidegate nor another
hand's setting ends pods by rolling them in place. `tidegate.dev/wanted` is the digest of the rest, without what is kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autoscaler.inference.pods import port_of
from autoscaler.inference.resource import InferenceService
from autoscaler.inference.revisions import Live, Place, Rollout
from autoscaler.inference.scaling import Scaling
from autoscaler.inference.shapes import (
    BUDGET,
    REVISION_LABEL,
    SERVICE_LABEL,
    VARIANT,
    WANTED,
    Json,
    Settings,
    digest,
    mapping,
    meta,
    name_of,
    shortened,
    text,
    texts,
    whole,
)

_HASH = 8
_LONGEST = 63
MANAGED_BY = "app.kubernetes.io/managed-by"


def revision_name(service: str, variant: str, part: Json) -> str:
    """NAME-predictor-HASH, or NAME-VARIANT-predictor-HASH, as long as a label may be."""
    base = "-".join(word for word in (service, variant, "predictor") if word)
    return f"{shortened(base, _LONGEST - _HASH - 1)}-{digest(part)[:_HASH]}"


def lives_of(objects: Iterable[Mapping[str, Any]], cannot_start: Mapping[str, str]) -> dict[str, Live]:
    """The Deployments, as the rollout needs to know them."""
    found = {}
    for item in objects:
        if item.get("kind") != "Deployment" or not name_of(item) or meta(item).get("deletionTimestamp"):
            continue
        name, status = name_of(item), mapping(item.get("status"))
        annotations = texts(meta(item).get("annotations"))
        replicas = mapping(item.get("spec")).get("replicas")
        budget = annotations.get(BUDGET, "")
        found[name] = Live(
            replicas=1 if replicas is None else whole(replicas),
            existing=whole(status.get("replicas")),
            ready=whole(status.get("readyReplicas")),
            created=text(meta(item).get("creationTimestamp")),
            variant=annotations.get(VARIANT, ""),
            budget=int(budget) if budget.isascii() and budget.isdigit() and len(budget) < 8 else 0,
            failure=cannot_start.get(name, ""),
        )
    return found


class Maker:
    """Makes the objects of one InferenceService."""

    def __init__(self, service: InferenceService, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    def deployment(
        self,
        name: str,
        place: Place,
        said: Mapping[str, str],
        template: Json,
        there: Mapping[str, Any] | None,
    ) -> Json:
        """`said`: annotations, of which the empty ones are left out. `there`: the one that is there."""
        annotations = {key: value for key, value in said.items() if value}
        if place.budget:
            annotations[BUDGET] = str(place.budget)
        item = self._object("apps/v1", "Deployment", name, annotations)
        item["metadata"]["labels"][REVISION_LABEL] = name
        spec = mapping((there or {}).get("spec"))
        chosen = {SERVICE_LABEL: self._service.name, REVISION_LABEL: name}
        kept = {"selector": {"matchLabels": chosen}, "template": template}
        kept |= {key: spec[key] for key in ("selector", "template") if mapping(spec.get(key))}
        item["spec"] = {"revisionHistoryLimit": 0}
        self._seal(item)
        item["spec"] |= kept
        if there is None:
            item["spec"]["replicas"] = 0 if place.held or place.leaving else place.least
        return item

    def autoscaler(self, name: str, place: Place, scaling: Scaling) -> Json:
        least = max(1, place.least)
        spec: Json = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": max(least, place.most),
            "metrics": list(scaling.metrics),
        }
        if scaling.behavior:
            spec["behavior"] = scaling.behavior
        item = self._object("autoscaling/v2", "HorizontalPodAutoscaler", name, {})
        return self._seal({**item, "spec": spec})

    def services(self, rollout: Rollout, ports: Mapping[str, int]) -> Iterator[Json]:
        """That of the pods, and the one that leads to the gateway."""
        serving = {name: p.weight for name, p in rollout.places.items() if p.weight}
        chosen = {SERVICE_LABEL: self._service.name, "component": "predictor"}
        if len(serving) == 1:
            chosen[REVISION_LABEL] = next(iter(serving))
        first = max(serving, key=lambda name: (serving[name], name), default=rollout.newest)
        port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": ports.get(first, 8080)}
        item = self._object("v1", "Service", shortened(f"{self._service.name}-predictor"), {})
        yield self._seal({**item, "spec": {"type": "ClusterIP", "selector": chosen, "ports": [port]}})
        if self._settings.gateway_host:
            spec = {"type": "ExternalName", "externalName": self._settings.gateway_host}
            yield self._seal({**self._object("v1", "Service", self._service.name, {}), "spec": spec})

    def _object(self, version: str, kind: str, name: str, annotations: dict[str, str]) -> Json:
        service = self._service
        about: Json = {
            "name": name,
            "namespace": service.namespace,
            "labels": {SERVICE_LABEL: service.name, "component": "predictor", MANAGED_BY: "tidegate"},
            "annotations": annotations,
        }
        if service.uid:
            about["ownerReferences"] = [
                {
                    "apiVersion": service.api_version,
                    "kind": "InferenceService",
                    "name": service.name,
                    "uid": service.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ]
        return {"apiVersion": version, "kind": kind, "metadata": about}

    @staticmethod
    def _seal(item: Json) -> Json:
        item["metadata"]["annotations"][WANTED] = digest(item)[:16]
        return item


def template_port(item: Mapping[str, Any]) -> int:
    """The port of a Deployment's pods."""
    return port_of(mapping(mapping(mapping(item.get("spec")).get("template")).get("spec")))
