"""From an InferenceService and what there is of it to what there shall be: objects, a configuration document, a status, events.

A core, and the way in. Observing what was made of an answer gives the same answer, with no events.
"""

from collections.abc import Mapping
from typing import Any

from autoscaler.inference.runtimes import Runtimes
from autoscaler.inference.shapes import Fault, Observed, Settings, StorageInitializer, Wanted

__all__ = ["Fault", "Observed", "Runtimes", "Settings", "StorageInitializer", "Wanted", "wanted"]


def wanted(
    service: Mapping[str, Any], runtimes: Runtimes, observed: Observed, settings: Settings, now: float
) -> Wanted:
    """`now`: seconds since 1970."""
    return Wanted((), None, {}, ())
