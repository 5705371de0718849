"""The section `inference_services`, in the controller's words."""

from dataclasses import dataclass

from autoscaler.inference.shapes import Settings, StorageInitializer
from gateway.config import Config


@dataclass(frozen=True, slots=True)
class Terms:
    """Which InferenceServices are run, and how."""

    settings: Settings
    everything: bool = False
    """Those of any class."""
    namespaces: tuple[str, ...] = ()
    """None: all."""


def terms_of(config: Config) -> Terms | None:
    """None: none are run."""
    given = config.inference_services
    if given is None:
        return None
    fetching = given.storage_initializer
    settings = Settings(
        domain=given.domain,
        url_scheme=given.url_scheme,
        storage_initializer=StorageInitializer(fetching.image, fetching.command, fetching.args),
        gateway_host="" if given.gateway_host == "none" else given.gateway_host,
    )
    return Terms(settings, given.owned == "all", given.namespaces)
