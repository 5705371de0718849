"""The status of an InferenceService, as KServe writes it, and the Events of what changes with it.

A core. Readiness is that of Knative's services: while a newest revision comes up, Ready is Unknown, though the one before it answers; the traffic's list
tells which does. A condition keeps the time of its last change. KServe's SDK waits for Ready, and for `observedGeneration`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.inference.document import local_host, public_host
from autoscaler.inference.resource import InferenceService
from autoscaler.inference.revisions import Goal, Live, Rollout
from autoscaler.inference.runtimes import NoRuntime, Runtime
from autoscaler.inference.shapes import Fault, Json, Settings, mapping, mappings, text
from gateway.kube.objects import rfc3339

Event = tuple[str, str, str]
_LONGEST_MESSAGE = 1024
_TERMINAL = {"PredictorReady", "IngressReady", "Ready"}
"""The others do not decide on Ready, which their severity says."""


@dataclass(frozen=True, slots=True)
class Word:
    """A condition: what it says and why."""

    status: str
    reason: str = ""
    message: str = ""


_GOOD = Word("True")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status tells of."""

    service: InferenceService
    settings: Settings
    goal: Goal
    rollout: Rollout
    live: Mapping[str, Live]
    runtime: Runtime | NoRuntime | None
    faults: Sequence[Fault]
    unrouted: str = ""
    """Why its routes do not reach the gateways."""


def status_of(facts: Facts, now: float) -> tuple[Json, tuple[Event, ...]]:
    """Also the Events that tell of the change from the status before."""
    return _Status(facts).told(now)


class _Status:
    """One status's working."""

    def __init__(self, facts: Facts) -> None:
        self._service = facts.service
        self._settings = facts.settings
        self._goal = facts.goal
        self._rollout = facts.rollout
        self._live = facts.live
        self._runtime = facts.runtime
        self._faults = facts.faults
        self._unrouted = facts.unrouted
        self._refused = [fault for fault in facts.faults if fault.refused]
        self._newest = facts.live.get(facts.rollout.newest) or Live(0)

    def told(self, now: float) -> tuple[Json, tuple[Event, ...]]:
        words = self._words()
        status: Json = {
            "observedGeneration": self._service.generation,
            "conditions": _conditions(words, mappings(self._service.status.get("conditions")), now),
            "components": {"predictor": self._component()},
            "modelStatus": self._model(words["PredictorReady"]),
            "deploymentMode": "Standard",
            **self._runtime_name(),
            **self._canaries(),
        }
        if self._traffic():
            status |= {"url": self._url(), "address": {"url": f"http://{local_host(self._service)}"}}
        return status, tuple(self._events(status, words))

    # Conditions.

    def _words(self) -> dict[str, Word]:
        latest = self._latest()
        routes = self._routes(latest)
        serves = bool(self._traffic())
        ingress = _GOOD if serves else Word("False", latest.reason or "NoRoute", latest.message)
        if self._unrouted:
            ingress = Word("False", "NotRouted", self._unrouted[:_LONGEST_MESSAGE])
        predictor = latest if latest.status != "True" else routes
        words = {
            "IngressReady": ingress,
            "LatestDeploymentReady": latest,
            "PredictorReady": predictor,
            "Ready": _first_bad(predictor, ingress),
            "RoutesReady": routes,
        }
        if self._service.stopped:
            words["Stopped"] = Word("True", "Stopped")
        if self._goal.variants:
            words["CanaryPredictorReady"] = self._variants_ready()
        reported = [fault for fault in self._faults if not fault.refused]
        if reported:
            words["SpecSupported"] = Word("False", "NotLookedAt", _joined(reported))
        return words

    def _latest(self) -> Word:
        """The newest revision's."""
        if self._refused:
            return Word("False", self._invalid(), _joined(self._refused))
        if self._service.stopped:
            return Word("False", "Stopped", "stopped by its annotation serving.kserve.io/stop")
        name = self._rollout.newest
        if self._newest.ready:
            return _GOOD
        if self._newest.failure:
            return Word("False", "PodsCannotStart", f"{name}: {self._newest.failure}"[:_LONGEST_MESSAGE])
        proven = name in {self._rollout.ready, self._rollout.rolled}
        if proven and (self._goal.bounds.least == 0 or self._goal.percent == 0):
            return _GOOD  # asleep, or waking
        if self._goal.percent == 0 and self._goal.strategy is not None and self._rollout.rolled != name:
            return _GOOD  # rolled back, without a place for a pod
        if proven:
            return Word("False", "NoPodReady", f"no pod of {name} is ready")
        return Word("Unknown", "Deploying", f"no pod of {name} is ready yet")

    def _invalid(self) -> str:
        return self._runtime.reason if isinstance(self._runtime, NoRuntime) else "InvalidPredictorSpec"

    def _routes(self, latest: Word) -> Word:
        rollout = self._rollout
        if self._service.stopped or not self._traffic():
            return Word("False", latest.reason or "NoRoute", latest.message)
        canary = self._goal.percent is not None and self._goal.percent < 100 and latest.status == "True"
        if rollout.settled or canary or not rollout.rolled:
            return _GOOD
        says = f"{rollout.rolled} answers until {rollout.newest} can take over"
        return Word("Unknown", "RollingOut", says)

    def _variants_ready(self) -> Word:
        waiting = [v.name for v in self._goal.variants if not self._ready(v.revision)]
        if not waiting:
            return _GOOD
        return Word("Unknown", "Deploying", f"no pod is ready yet of {', '.join(waiting)}")

    def _ready(self, name: str) -> bool:
        return name in self._live and self._live[name].ready > 0

    # The rest.

    def _traffic(self) -> list[Json]:
        weights = {name: place.weight for name, place in self._rollout.places.items() if place.weight}
        total = sum(weights.values())
        found = []
        for name, percent in _percents(weights, total).items():
            target: Json = {
                "revisionName": name,
                "latestRevision": name == self._rollout.newest,
                "percent": percent,
            }
            if name == self._rollout.rolled and not target["latestRevision"]:
                target["tag"] = "prev"
            found.append(target)
        return sorted(found, key=lambda target: not target["latestRevision"])

    def _component(self) -> Json:
        rollout = self._rollout
        component: Json = {
            "latestCreatedRevision": rollout.newest,
            "latestReadyRevision": rollout.ready,
            "latestRolledoutRevision": rollout.rolled,
            "previousRolledoutRevision": rollout.previous,
        }
        component = {key: value for key, value in component.items() if value}
        traffic = self._traffic()
        if traffic:
            component |= {"traffic": traffic, "url": self._url()}
        return component

    def _url(self) -> str:
        host = public_host(self._service, self._settings)
        return f"{self._settings.url_scheme}://{host}" if host else f"http://{local_host(self._service)}"

    def _model(self, word: Word) -> Json:
        if self._refused:
            info = {"reason": self._invalid(), "message": word.message}
            states = {
                "activeModelState": "Loaded" if self._traffic() else "Pending",
                "targetModelState": "FailedToLoad",
            }
            return {"transitionStatus": "InvalidSpec", "states": states, "lastFailureInfo": info}
        ready = self._newest.ready
        if self._newest.failure and not ready:
            info = {
                "reason": "RuntimeUnhealthy",
                "message": self._newest.failure[:_LONGEST_MESSAGE],
                "modelRevisionName": self._rollout.newest,
            }
            states = {"activeModelState": self._active(), "targetModelState": "FailedToLoad"}
            return {"transitionStatus": "BlockedByFailedLoad", "states": states, "lastFailureInfo": info}
        done = word.status == "True"
        target = "Loaded" if ready else "Standby" if done else "Pending"
        states = {"activeModelState": target if done else self._active(), "targetModelState": target}
        copies = {"failedCopies": 0, "totalCopies": ready}
        return {"transitionStatus": "UpToDate" if done else "InProgress", "states": states, "copies": copies}

    def _active(self) -> str:
        return "Loaded" if self._ready(self._rollout.rolled) else "Pending"

    def _runtime_name(self) -> Json:
        if not isinstance(self._runtime, Runtime):
            return {}
        key = "servingRuntimeName" if self._runtime.namespace else "clusterServingRuntimeName"
        return {key: self._runtime.name}

    def _canaries(self) -> Json:
        if not self._goal.variants:
            return {}
        percents = {target["revisionName"]: target["percent"] for target in self._traffic()}
        found = [
            {
                "name": variant.name,
                "ready": self._ready(variant.revision),
                "trafficPercent": percents.get(variant.revision, 0),
                "modelStatus": {
                    "transitionStatus": "UpToDate" if self._ready(variant.revision) else "InProgress"
                },
            }
            for variant in self._goal.variants
        ]
        return {"canaryStatuses": found}

    # Events.

    def _events(self, status: Json, words: Mapping[str, Word]) -> Iterable[Event]:
        before = self._service.status
        old = mapping(mapping(before.get("components")).get("predictor"))
        new = status["components"]["predictor"]
        created, rolled = new.get("latestCreatedRevision", ""), new.get("latestRolledoutRevision", "")
        if created and created != text(old.get("latestCreatedRevision")):
            yield "Normal", "RevisionCreated", f"{created} is the newest revision"
        if rolled and rolled != text(old.get("latestRolledoutRevision")):
            yield "Normal", "RolledOut", f"{rolled} is rolled out"
        said = {text(c.get("type")): c for c in mappings(before.get("conditions"))}
        for kind, reason in (("PredictorReady", "PredictorNotReady"), ("SpecSupported", "NotSupported")):
            word, was = words.get(kind), said.get(kind, {})
            if word is not None and word.status == "False" and word.message != text(was.get("message")):
                normal = word.reason == "Stopped"
                yield "Normal" if normal else "Warning", word.reason or reason, word.message
        ingress = words["IngressReady"]
        if self._unrouted and ingress.message != text(said.get("IngressReady", {}).get("message")):
            yield "Warning", ingress.reason, ingress.message
        if words["Ready"].status == "True" and said.get("Ready", {}).get("status") != "True":
            yield "Normal", "InferenceServiceReady", f"{self._service.name} is ready"


def _first_bad(*words: Word) -> Word:
    for status in ("False", "Unknown"):
        for word in words:
            if word.status == status:
                return word
    return _GOOD


def _joined(faults: Iterable[Fault]) -> str:
    return "; ".join(str(fault) for fault in faults)[:_LONGEST_MESSAGE]


def _percents(weights: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole percents that are 100 together, by largest remainder."""
    shares = {name: divmod(weight * 100, total) for name, weight in weights.items()}
    missing = 100 - sum(percent for percent, _ in shares.values()) if shares else 0
    extra = sorted(shares, key=lambda name: (-shares[name][1], name))[:missing]
    return {name: percent + (name in extra) for name, (percent, _) in shares.items()}


def _conditions(words: Mapping[str, Word], before: list[Json], now: float) -> list[Json]:
    old = {text(condition.get("type")): condition for condition in before}
    found = []
    for kind, word in sorted(words.items()):
        was = old.get(kind, {})
        condition: Json = {"type": kind, "status": word.status}
        if kind not in _TERMINAL:
            condition["severity"] = "Info"
        same = was.get("status") == word.status and text(was.get("lastTransitionTime"))
        condition["lastTransitionTime"] = was["lastTransitionTime"] if same else rfc3339(now)
        condition |= {
            key: value for key, value in (("reason", word.reason), ("message", word.message)) if value
        }
        found.append(condition)
    return found
