"""The scheduler: puts pending pods on nodes that have what they ask for, or says in their status why there is none. Pure, on a `Store`.

What pods ask for is added up as they come and go, so that a thousand of them are placed in one pass over each.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.kube.podfacts import is_finished, with_condition
from tests.kube.verbs import bind

if TYPE_CHECKING:
    from tests.kube.history import Event, Record
    from tests.kube.store import Store

UNBOUNDED = {"cpu", "memory", "ephemeral-storage", "pods"}
"""What a node that does not say how much it has has enough of; of anything else it has nothing."""
_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Scheduler:
    """Keeps what is used on each node. `waiting` are the pods that no node takes."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str], None] = {}
        self._used: dict[str, Counter[str]] = {}

    def take(self, event: Event) -> None:
        """Account for a change of a pod."""
        if event.previous is not None:
            self._account(event.previous, -1)
        if event.type != "DELETED":
            self._account(event.record, 1)
        else:
            self.waiting.pop(event.record.key, None)

    def reconcile(self, store: Store, namespace: str, name: str) -> float | None:
        record = store.find("pods", namespace, name)
        if (
            record is None
            or record.obj["spec"].get("nodeName")
            or "deletionTimestamp" in record.obj["metadata"]
        ):
            self.waiting.pop((namespace, name), None)
            return None
        wanted, nodes = requests_of(record.obj), store.records("nodes")
        refusals = {node.key[1]: self._refusal(node, record.obj, wanted) for node in nodes}
        fitting = [node for node, refusal in refusals.items() if not refusal]
        if fitting:
            self.waiting.pop(record.key, None)
            bind(
                store, namespace, name, min(fitting, key=lambda node: self._used.get(node, Counter())["pods"])
            )
            return None
        self.waiting[record.key] = None
        self._tell(store, record, list(refusals.values()))
        return None

    def _refusal(self, node: Record, pod: dict[str, Any], wanted: Counter[str]) -> str:
        """Why a node cannot take a pod; "" if it can."""
        spec = node.obj.get("spec") or {}
        if spec.get("unschedulable"):
            return "node(s) were unschedulable"
        labels = node.obj["metadata"].get("labels") or {}
        if not (pod["spec"].get("nodeSelector") or {}).items() <= labels.items():
            return "node(s) didn't match Pod's node affinity/selector"
        has = (node.obj.get("status") or {}).get("allocatable") or {}
        used = self._used.get(node.key[1], Counter())
        for resource, amount in wanted.items():
            if resource in UNBOUNDED and resource not in has:
                continue
            if amount and used[resource] + amount > quantity(has.get(resource, 0)):
                return "Too many pods" if resource == "pods" else f"Insufficient {resource}"
        return ""

    @staticmethod
    def _tell(store: Store, record: Record, refusals: list[str]) -> None:
        message = "no nodes available to schedule pods"
        if refusals:
            reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(refusals).items()))
            message = f"0/{len(refusals)} nodes are available: {reasons}. preemption: 0/{len(refusals)} nodes are available: "
            message += f"{len(refusals)} No preemption victims found for incoming pod."
        status = record.obj.get("status") or {}
        new = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
        }
        conditions = with_condition(status.get("conditions") or [], new, store.now())
        store.set_status(record, {**status, "conditions": conditions})

    def _account(self, record: Record, sign: int) -> None:
        node = record.obj["spec"].get("nodeName")
        if node and not is_finished(record.obj):
            used = self._used.setdefault(node, Counter())
            for resource, amount in requests_of(record.obj).items():
                used[resource] += sign * amount

    def __repr__(self) -> str:
        return f"<Scheduler, {len(self.waiting)} pods wait, used {dict(self._used)}>"


def requests_of(pod: dict[str, Any]) -> Counter[str]:
    """What a pod asks for, itself included. A limit without a request is one."""
    total: Counter[str] = Counter(pods=1)
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        for resource, amount in {
            **(resources.get("limits") or {}),
            **(resources.get("requests") or {}),
        }.items():
            total[resource] += quantity(amount)  # type: ignore[assignment]
    return total


def quantity(text: str | float) -> float:
    """`500m`, `1Gi`, `2`."""
    if not isinstance(text, str):
        return float(text)
    for units in (_BINARY, _UNITS):
        for unit, factor in units.items():
            if text.endswith(unit):
                return float(text.removesuffix(unit)) * factor
    return float(text)
