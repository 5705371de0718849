"""What each verb does to the store, and how it is answered; watches aside. Synchronous: between two requests the store is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.kube import errors, manifests, patches, rbac, scaling
from tests.kube.documents import REVIEWS
from tests.kube.identity import User
from tests.kube.paths import Target
from tests.kube.selectors import FieldSelector, LabelSelector, Selection
from tests.kube.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kube.history import Record
    from tests.kube.identity import Tokens
    from tests.kube.kinds import Resource
    from tests.kube.listing import Lists
    from tests.kube.store import Store

PATCHES = {
    "application/json-patch+json": patches.json_patched,
    "application/merge-patch+json": patches.merged,
    "application/strategic-merge-patch+json": patches.strategically_merged,
    "application/apply-patch+yaml": patches.strategically_merged,
}
APPLY = "application/apply-patch+yaml"
RETURNED_WHEN_DELETED = {"pods", "services", "serviceaccounts", "namespaces"}


@dataclass(frozen=True, slots=True)
class Asked:
    user: User
    target: Target
    query: Mapping[str, str]
    content_type: str
    body: bytes

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    def content(self) -> Any:
        """The body, from JSON or YAML."""
        if self.content_type.endswith(("protobuf", "cbor")):
            raise errors.ApiError(
                415,
                "UnsupportedMediaType",
                f"the body of the request was in an unknown format: {self.content_type}",
            )
        try:
            return (
                manifests.parsed(self.body) if self.content_type.endswith("yaml") else json.loads(self.body)
            )
        except (ValueError, yaml.YAMLError) as error:
            raise errors.bad_request(f"the object provided is unrecognized: {error}") from error


def selection(resource: Resource, asked_namespace: str, query: Mapping[str, str]) -> Selection:
    labels = LabelSelector.parse(query.get("labelSelector", ""))
    fields = FieldSelector.parse(query.get("fieldSelector", ""), resource)
    return Selection(asked_namespace if resource.namespaced else "", labels, fields)


class Verbs:
    def __init__(self, store: Store, lists: Lists, tokens: Tokens) -> None:
        self._store = store
        self._lists = lists
        self._tokens = tokens

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        """The status and the body. Raises ApiError."""
        target = asked.target
        if target.group == REVIEWS:
            return 201, _encoded(self._review(asked))
        resource = self._store.registry.at(target.group, target.version, target.plural)
        if target.subresource and target.subresource not in resource.subresources:
            raise errors.no_such_path()
        if target.namespace and not resource.namespaced and resource.plural != "namespaces":
            raise errors.no_such_path()
        if target.verb == "list":
            return 200, self._lists.answer(
                resource, selection(resource, target.namespace, asked.query), asked.query
            )
        if target.verb == "deletecollection":
            return 200, self._delete_collection(resource, asked)
        match target.subresource:
            case "scale":
                return 200, self._scale(resource, asked)
            case "token":
                return 201, self._token(asked)
            case "binding":
                return 201, self._bind(asked)
        return self._object(resource, asked)

    # Whole objects and their status

    def _object(self, resource: Resource, asked: Asked) -> tuple[int, bytes]:
        match asked.target.verb:
            case "get":
                return 200, self._current(resource, asked.target).body
            case "create":
                return 201, self._create(resource, asked)
            case "update":
                return self._update(resource, asked)
            case "patch":
                return self._patch(resource, asked)
            case "delete":
                return 200, self._delete(resource, asked)
        raise errors.not_allowed()

    def _current(self, resource: Resource, target: Target) -> Record:
        return self._store.record(resource, target.namespace if resource.namespaced else "", target.name)

    def _create(self, resource: Resource, asked: Asked) -> bytes:
        obj = self._checked(resource, asked)
        return self._store.create(resource, obj, dry_run=asked.dry_run).body

    def _update(self, resource: Resource, asked: Asked) -> tuple[int, bytes]:
        obj, target = self._checked(resource, asked), asked.target
        namespace = target.namespace if resource.namespaced else ""
        if resource.create_on_update and not self._store.find(resource, namespace, target.name):
            rbac.authorize(self._store, asked.user, Target("create", *_place(target)))
            return 201, self._store.create(resource, obj, dry_run=asked.dry_run).body
        return 200, self._store.replace(resource, obj, target.subresource, dry_run=asked.dry_run).body

    def _patch(self, resource: Resource, asked: Asked) -> tuple[int, bytes]:
        target = asked.target
        _check_type(resource, asked)
        found = self._store.find(resource, target.namespace if resource.namespaced else "", target.name)
        if found is None and asked.content_type == APPLY:
            return 201, self._create(resource, asked)
        record = found or self._current(resource, target)
        obj = _patched(resource, record.obj, asked)
        for field in ("name", "namespace"):
            if obj["metadata"].get(field) != record.obj["metadata"].get(field):
                raise errors.bad_request(f"the {field} of the object does not match the {field} on the URL")
        uid = obj["metadata"].get("uid")
        if uid and uid != record.obj["metadata"]["uid"]:
            # An update's uid is a precondition (409); a patch is applied first, and what comes of it validated.
            why = f'Invalid value: "{uid}": field is immutable'
            raise errors.invalid(resource, target.name, "metadata.uid", why)
        return 200, self._store.replace(resource, obj, target.subresource, dry_run=asked.dry_run).body

    def _delete(self, resource: Resource, asked: Asked) -> bytes:
        record = self._current(resource, asked.target)
        if asked.dry_run:
            return record.body
        left = self._store.delete(resource, *record.key, _options(asked))
        if resource.plural in RETURNED_WHEN_DELETED or self._store.find(resource, *record.key) is left:
            return left.body
        details: dict[str, Any] = {"name": asked.target.name, "kind": resource.plural}
        if resource.group:
            details["group"] = resource.group
        details["uid"] = record.obj["metadata"]["uid"]
        return _encoded(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    def _delete_collection(self, resource: Resource, asked: Asked) -> bytes:
        chosen = selection(resource, asked.target.namespace, asked.query)
        records = [
            record for record in self._store.records(resource, chosen.namespace) if chosen.matches(record.obj)
        ]
        for record in records:
            if self._store.find(resource, *record.key):
                self._store.delete(resource, *record.key, _options(asked))
        head = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self._store.rv)},
        }
        return _encoded(head)[:-1] + b',"items":[' + b",".join(record.item for record in records) + b"]}"

    @staticmethod
    def _checked(resource: Resource, asked: Asked) -> dict[str, Any]:
        """The body as an object of this place."""
        obj, target = asked.content(), asked.target
        if not isinstance(obj, dict):
            raise errors.bad_request("the object provided is unrecognized (must be of type Object)")
        kind = (obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind)
        if kind != (resource.api_version, resource.kind):
            raise errors.bad_request(
                f'{kind[1]} in version "{kind[0]}" cannot be handled as a {resource.kind}'
            )
        metadata = obj.setdefault("metadata", {})
        if resource.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if target.name and metadata.setdefault("name", target.name) != target.name:
            why = f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            raise errors.bad_request(why)
        return obj

    # Subresources of their own kinds

    def _scale(self, resource: Resource, asked: Asked) -> bytes:
        record = self._current(resource, asked.target)
        scale = scaling.scale_of(record)
        if asked.target.verb == "get":
            return _encoded(scale)
        wanted = _patched(resource, scale, asked) if asked.target.verb == "patch" else asked.content()
        record = self._store.replace(resource, scaling.scaled(record, wanted), dry_run=asked.dry_run)
        return _encoded(scaling.scale_of(record))

    def _token(self, asked: Asked) -> bytes:
        account = self._store.record("serviceaccounts", asked.target.namespace, asked.target.name)
        request = asked.content()
        spec = request.get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or 3600)
        token, ends = self._tokens.issue(account, seconds, spec.get("audiences"), spec.get("boundObjectRef"))
        metadata = {
            "name": asked.target.name,
            "namespace": asked.target.namespace,
            "creationTimestamp": self._store.now(),
        }
        answer = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
        spec = {"audiences": [], **spec, "expirationSeconds": seconds}
        return _encoded(
            {**answer, "spec": spec, "status": {"token": token, "expirationTimestamp": timestamp(ends)}}
        )

    def _bind(self, asked: Asked) -> bytes:
        target = asked.target
        bind(self._store, target.namespace, target.name, asked.content()["target"]["name"])
        return _encoded(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        )

    def _review(self, asked: Asked) -> dict[str, Any]:
        """Whether the user, or another one, may do a thing."""
        review = asked.content()
        spec = review["spec"]
        attributes, user = spec.get("resourceAttributes") or {}, asked.user
        if asked.target.plural == "subjectaccessreviews":
            user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        fields = ("verb", "group", "version", "resource", "namespace", "name", "subresource")
        target = Target(*(attributes.get(field, "") for field in fields))
        return {**review, "status": {"allowed": rbac.allowed(self._store, user, target)}}

    def __repr__(self) -> str:
        return f"<Verbs on {self._store!r}>"


def bind(store: Store, namespace: str, name: str, node: str) -> Record:
    """Put a pod on a node."""
    record = store.record("pods", namespace, name)
    if record.obj["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{record.obj["spec"]["nodeName"]}"'
        raise errors.conflict(record.resource, name, why)
    spec, status = {**record.obj["spec"], "nodeName": node}, record.obj.get("status") or {}
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": store.now(),
    }
    others = [
        condition for condition in status.get("conditions") or () if condition["type"] != "PodScheduled"
    ]
    return store.mark(record, {**status, "conditions": [*others, scheduled]}, spec)


def _check_type(resource: Resource, asked: Asked) -> None:
    if asked.content_type not in PATCHES or (resource.custom and "strategic" in asked.content_type):
        known = ", ".join(PATCHES)
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise errors.ApiError(415, "UnsupportedMediaType", message)


def _patched(resource: Resource, obj: dict[str, Any], asked: Asked) -> dict[str, Any]:
    _check_type(resource, asked)
    patched: dict[str, Any] = PATCHES[asked.content_type](obj, asked.content())
    return patched


def _options(asked: Asked) -> dict[str, Any]:
    """DeleteOptions, from the body and the query."""
    options: dict[str, Any] = asked.content() if asked.body else {}
    if "gracePeriodSeconds" in asked.query:
        options["gracePeriodSeconds"] = int(asked.query["gracePeriodSeconds"])
    if "propagationPolicy" in asked.query:
        options["propagationPolicy"] = asked.query["propagationPolicy"]
    return options


def _place(target: Target) -> tuple[str, ...]:
    return target.group, target.version, target.plural, target.namespace, target.name


def _encoded(obj: dict[str, Any]) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()
