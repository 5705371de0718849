"""What all pods of a Backend use of a resource, when some of them are not measured yet.

A core. A cluster measures a new pod after half a minute only, and until then its load has begun to move there. As in a HorizontalPodAutoscaler such a pod
is taken to use nothing when more pods are asked for, and as much as is aimed at when fewer are: it moves the count neither way. When none is measured nothing can be
said. Neighbours: `processes` and `metricsapi` measure.
"""

from collections.abc import Mapping, Sequence

from autoscaler.signals.asked import NoValueError, PodAt, Resource, Usage


def total(asked: Usage, pods: Sequence[PodAt], used: Mapping[str, float], unmeasured: str) -> float:
    """The metric's value over `pods`, of what each that is measured uses (by uid). Raises NoValueError, with the reason `unmeasured`."""
    known = sum(used[pod.uid] for pod in pods if pod.uid in used)
    unknown = [pod.uid for pod in pods if pod.uid not in used]
    if pods and len(unknown) == len(pods):
        others = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise NoValueError(f"pod {unknown[0]}{others}: {unmeasured}")
    return min(known + asked.target * len(unknown), max(known, asked.target * len(pods)))


def requested(pod: PodAt, resource: Resource) -> float:
    """What a share is a share of. Raises NoValueError."""
    amount = pod.requests[0 if resource == "cpu" else 1]
    if not amount:
        raise NoValueError(
            f"pod {pod.name or pod.uid} has a container without a request for {resource}, "
            "so that there is nothing to be a percentage of: set resources.requests, or give the target as an amount"
        )
    return amount
