"""The section on InferenceServices: which are run, and what they are called."""

from typing import Annotated, Literal

from pydantic import Strict, StringConstraints

from gateway.config.section import Section, shared
from gateway.config.target import Namespace, Text

_Lax = Strict(strict=False)  # YAML's lists become tuples

HostName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\z")
]


class StorageInitializerConfig(Section):
    """The init container that fetches a `storageUri`."""

    image: Text = "kserve/storage-initializer:latest"
    command: Annotated[tuple[Text, ...], _Lax] = ()
    """When left out: the image's own."""
    args: Annotated[tuple[Text, ...], _Lax] | None = None
    """`{uri}` and `{path}` stand for what is fetched and for where to. When left out: both, as KServe's takes them."""
    credentials: Literal["service_account", "none"] = "service_account"
    """service_account: it gets those in the Secrets of the pods' service account, as with KServe, which takes the right to get both."""


class InferenceServicesConfig(Section):
    """KServe's InferenceServices are run on plain Deployments. Present, even empty (`{}`): on."""

    owned: Literal["annotated", "all"] = "annotated"
    """annotated: those with the annotation `tidegate.dev/class: tidegate`; all: where KServe's own controller does not run."""
    domain: HostName = "example.com"
    """What NAME-NAMESPACE is put before, for the host that one is reached by."""
    url_scheme: Literal["http", "https"] = "http"
    """Of the URL in its status."""
    storage_initializer: StorageInitializerConfig = shared(StorageInitializerConfig())
    gateway_host: HostName = "tidegate.tidegate.svc.cluster.local"
    """The gateways' Service, which NAME.NAMESPACE leads to. `none`: no Service of that name is made."""
    namespaces: Annotated[tuple[Namespace, ...], _Lax] = ()
    """Where they may be. When left out: everywhere."""
