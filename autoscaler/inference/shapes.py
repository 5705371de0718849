"""What goes into the core of InferenceServices and what comes out of it, and how JSON that nobody has checked is read.

A core. Objects are the API's JSON. A CRD's schema may be loose, and people may have edited anything: `mapping`, `listing`, `text` and `whole`
take whatever is there and give back the empty value of their kind where it is another, so that nothing here can stumble.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
"""On all that is made of an InferenceService: its name."""
REVISION_LABEL = "tidegate.dev/revision"
"""On a revision's Deployment and pods: the revision's name."""
VARIANT = "tidegate.dev/variant"
"""On a revision's Deployment: the predictor's `name`."""
BUDGET = "tidegate.dev/budget"
"""On a Deployment that replaces another in step: the pods of both that the step began with."""
SCALING = "tidegate.dev/scaling"
"""On a revision's Deployment: what its scaling was last read from, so that it goes on when a spec is refused."""
UNREAD = "tidegate.dev/credentials-unread"
"""On a revision's Deployment: its template was made before its credentials could be read, and is made again once they can be."""
WANTED = "tidegate.dev/wanted"
"""The digest of the rest of an object, by which it is known whether it is as it shall be."""

REVISION_OURS = (
    "tidegate.dev/",
    "serving.kserve.io/",
    "internal.serving.kserve.io/",
    "autoscaling.knative.dev/",
)
"""Labels and annotations that are told to a controller, not to pods."""


@dataclass(frozen=True, slots=True)
class StorageInitializer:
    """The init container that fetches models."""

    image: str = "kserve/storage-initializer:latest"
    command: tuple[str, ...] = ()
    args: tuple[str, ...] | None = None
    """None: the URI and the folder, as KServe's takes them. `{uri}` and `{path}` stand for them."""
    credentials: bool = True
    """It gets those of the pods' service account."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The section `inference_services` of the configuration."""

    domain: str = "example.com"
    url_scheme: str = "http"
    storage_initializer: StorageInitializer = field(default_factory=StorageInitializer)
    gateway_host: str = ""
    """Where the Service of an InferenceService's own name points; "": there is none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of an InferenceService that is not done as it says."""

    path: str
    text: str
    refused: bool
    """Nothing of the spec is taken up because of it; otherwise the rest is, and this is told."""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


Use = tuple[str, str]
"""A service account's name, and that of the one Secret that counts in place of its own, or ""."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of a Secret: no value."""

    name: str
    keys: frozenset[str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    """KServe's, on S3."""
    host: str = field(default="", repr=False)
    """That its headers are for. It is compared, and never written."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a service account has to fetch models with."""

    secrets: tuple[Secret, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The account's own, on S3."""
    problem: str = ""
    """Why not all could be read, and what to do."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there of one InferenceService."""

    objects: Sequence[Mapping[str, Any]] = ()
    """Deployments, Services and HorizontalPodAutoscalers that are ours and its own, each with its `kind`."""
    cannot_start: Mapping[str, str] = field(default_factory=dict)
    """By a Deployment's name: why its pods cannot start, or why it cannot even be made."""
    unrouted: str = ""
    """Why its document cannot be written, or is left out."""
    credentials: Mapping[Use, Credentials] = field(default_factory=dict)
    """Of the service accounts that fetch its models."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be there of one InferenceService."""

    objects: tuple[Json, ...]
    """Complete but for what the server sets; a Deployment that is there has no `spec.replicas`. What is there and not named here is to be deleted."""
    document: Json | None
    """`backends` and `routes` for the gateways; None: it has none."""
    status: Json
    """The whole of it."""
    events: tuple[tuple[str, str, str], ...]
    """Type, reason, message: what has changed with this."""
    faults: tuple[Fault, ...] = ()


def mapping(value: object) -> Json:
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, Mapping) else {}


def listing(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def mappings(value: object) -> list[Json]:
    return [mapping(item) for item in listing(value) if isinstance(item, Mapping)]


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def texts(value: object) -> dict[str, str]:
    """Labels and annotations."""
    return {k: v for k, v in mapping(value).items() if isinstance(v, str)}


def whole(value: object) -> int:
    """A count; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def meta(item: Mapping[str, Any]) -> Json:
    return mapping(item.get("metadata"))


def name_of(item: Mapping[str, Any]) -> str:
    return text(meta(item).get("name"))


def digest(value: object) -> str:
    """Of JSON; equal values have equal ones, whatever the order of their keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def shortened(name: str, most: int = 63) -> str:
    """The name, or as much of it as fits with a digest of the whole behind it."""
    return name if len(name) <= most else f"{name[: most - 9].rstrip('-.')}-{digest(name)[:8]}"
