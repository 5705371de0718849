"""The section `inference_services`, in the controller's words."""

from dataclasses import dataclass

from autoscaler.inference.shapes import Settings, StorageInitializer
from gateway.config import Config
from gateway.config.inference import InferenceServicesConfig


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
    return Terms(settings_of(given), given.owned == "all", given.namespaces)


def settings_of(given: InferenceServicesConfig | None) -> Settings:
    """None: those of a section that says nothing."""
    given = given or InferenceServicesConfig()
    fetching = given.storage_initializer
    return Settings(
        domain=given.domain,
        url_scheme=given.url_scheme,
        storage_initializer=StorageInitializer(
            fetching.image, fetching.command, fetching.args, fetching.credentials == "service_account"
        ),
        gateway_host="" if given.gateway_host == "none" else given.gateway_host,
    )
