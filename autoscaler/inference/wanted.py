"""From an InferenceService and what there is of it to what there shall be: objects, a configuration document, a status, events.

A core, and the way in. Observing what was made of an answer gives the same answer, with no events. A spec that is refused leaves what is there as it
is. It goes through `resource` (what is asked for), `runtimes` and `pods` (what a pod is, and so which revision), `scaling`, `revisions` (who gets what),
then `objects`, `document` and `status`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.inference.document import document_of
from autoscaler.inference.objects import Maker, lives_of, revision_name, template_port
from autoscaler.inference.pods import model_of, named_secret, pod_faults, template_of, use_of
from autoscaler.inference.resource import InferenceService, Predictor, read
from autoscaler.inference.revisions import Bounds, Goal, Known, Live, Rollout, Variant, roll
from autoscaler.inference.runtimes import NoRuntime, Runtime, Runtimes
from autoscaler.inference.scaling import Scaling, scaling_again, scaling_of
from autoscaler.inference.shapes import (
    SCALING,
    UNREAD,
    VARIANT,
    Credentials,
    Fault,
    Json,
    Observed,
    Settings,
    StorageInitializer,
    Use,
    Wanted,
    mapping,
    mappings,
    meta,
    name_of,
    text,
    texts,
    whole,
)
from autoscaler.inference.status import Facts, status_of
from autoscaler.inference.steps import Strategy, strategy_of

__all__ = ["Fault", "Observed", "Runtimes", "Settings", "StorageInitializer", "Wanted", "uses_of", "wanted"]


def uses_of(service: Mapping[str, Any], settings: Settings) -> set[Use]:
    """Of which service accounts it takes credentials."""
    if not settings.storage_initializer.credentials:
        return set()
    read_one = read(service)
    predictors = [read_one.predictor, *(canary.predictor for canary in read_one.canaries)]
    return {use for predictor in predictors if (use := use_of(read_one, predictor)) is not None}


def wanted(
    service: Mapping[str, Any], runtimes: Runtimes, observed: Observed, settings: Settings, now: float
) -> Wanted:
    """`now`: seconds since 1970."""
    return _Working(read(service), runtimes, observed, settings).wanted(now)


@dataclass(frozen=True, slots=True)
class _Revision:
    """A predictor of the spec, with all that its pods need."""

    name: str
    predictor: Predictor
    runtime: Runtime | NoRuntime | None
    scaling: Scaling
    credentials: Credentials
    faults: tuple[Fault, ...]


class _Working:
    """One InferenceService's."""

    def __init__(
        self, service: InferenceService, runtimes: Runtimes, observed: Observed, settings: Settings
    ) -> None:
        self._service = service
        self._runtimes = runtimes
        self._settings = settings
        self._unrouted = observed.unrouted
        self._credentials = observed.credentials
        self._there = {
            name_of(item): item
            for item in observed.objects
            if item.get("kind") == "Deployment" and name_of(item)
        }
        self._live = lives_of(self._there.values(), observed.cannot_start)
        self._unmade = {name: Live(0, failure=why) for name, why in observed.cannot_start.items()}
        """Of these those count for the status whose Deployment is not even there."""
        self._main = self._revision(service.predictor)
        self._canaries = [self._revision(canary.predictor) for canary in service.canaries]
        self._strategy, self._faults = self._found()
        self._refused = any(fault.refused for fault in self._faults)

    def _found(self) -> tuple[Strategy | None, tuple[Fault, ...]]:
        strategy, wrong = strategy_of(self._service.predictor.extension.get("deploymentStrategy"))
        faults = [*self._service.faults, *self._main.faults]
        faults += [fault for canary in self._canaries for fault in canary.faults]
        if wrong:
            faults.append(Fault("spec.predictor.deploymentStrategy", wrong, refused=True))
        return strategy, tuple(dict.fromkeys(faults))

    def _revision(self, predictor: Predictor) -> _Revision:
        service = self._service
        model = model_of(predictor)
        runtime = None if model is None else self._runtimes.choose(model, service.namespace)
        scaling = scaling_of(predictor, service.annotations)
        faults = [*scaling.faults]
        chosen = None if isinstance(runtime, NoRuntime) else runtime
        if isinstance(runtime, NoRuntime):
            faults.append(Fault(f"{predictor.path}.model", runtime.text, refused=True))
        faults += pod_faults(predictor, chosen)
        part: Json = {
            "predictor": predictor.part,
            "runtime": {"name": chosen.name, "spec": chosen.spec} if chosen else None,
            "labels": service.told(service.labels),
            "annotations": service.told(service.annotations),
        }
        if secret := named_secret(service, predictor):
            part["secret"] = secret
        use = use_of(service, predictor)
        credentials = Credentials() if use is None else self._credentials.get(use, Credentials())
        if credentials.problem:
            faults.append(Fault(f"{predictor.path}.serviceAccountName", credentials.problem, refused=False))
        name = revision_name(service.name, predictor.name, part)
        return _Revision(name, predictor, runtime, scaling, credentials, tuple(faults))

    def wanted(self, now: float) -> Wanted:
        goal = self._goal()
        rollout = roll(self._live, self._known(), goal)
        named = bool(self._service.name) and not any(f.path.startswith("metadata.name") for f in self._faults)
        objects = tuple(self._objects(rollout)) if named and rollout.places else ()
        ports = self._ports(objects)
        scalings = {name: self._scaling(name) for name in rollout.places}
        document = document_of(self._service, self._settings, rollout, scalings, ports) if objects else None
        facts = Facts(
            self._service,
            self._settings,
            goal,
            rollout,
            {**self._unmade, **self._live},
            self._main.runtime,
            self._faults,
            self._unrouted,
        )
        status, events = status_of(facts, now)
        return Wanted(objects, document, status, events, self._faults)

    def _goal(self) -> Goal:
        refused, scaling = self._refused, self._main.scaling
        kept = {name: self._scaling(name) for name in self._there} if refused else {}
        return Goal(
            newest="" if refused else self._main.name,
            bounds=Bounds(scaling.least, scaling.most),
            percent=self._service.percent,
            strategy=self._strategy,
            initial=scaling.initial,
            variants=() if refused else self._variants(),
            stopped=self._service.stopped,
            kept={name: Bounds(was.least, was.most) for name, was in kept.items()},
        )

    def _variants(self) -> tuple[Variant, ...]:
        return tuple(
            Variant(r.name, r.predictor.name, c.percent, Bounds(r.scaling.least, r.scaling.most))
            for r, c in zip(self._canaries, self._service.canaries, strict=True)
        )

    def _known(self) -> Known:
        told = mapping(mapping(self._service.status.get("components")).get("predictor"))
        shares = {
            text(target.get("revisionName")): target["percent"]
            for target in mappings(told.get("traffic"))
            if isinstance(target.get("percent"), int)
        }
        return Known(
            rolled=text(told.get("latestRolledoutRevision")),
            previous=text(told.get("previousRolledoutRevision")),
            ready=text(told.get("latestReadyRevision")),
            shares=shares,
        )

    def _of_spec(self, name: str) -> _Revision | None:
        return next((r for r in (self._main, *self._canaries) if r.name == name), None)

    def _scaling(self, name: str) -> Scaling:
        """As asked for; while that is refused, as it was before."""
        if self._refused:
            annotations = texts(meta(self._there.get(name, {})).get("annotations"))
            return scaling_again(annotations.get(SCALING, ""))
        revision = self._of_spec(name)
        return (revision or self._main).scaling

    def _objects(self, rollout: Rollout) -> list[Json]:
        maker = Maker(self._service, self._settings)
        deployments = []
        autoscalers = []
        for name, place in rollout.places.items():
            there = self._there.get(name)
            revision = self._of_spec(name)
            template = self._template(revision) if revision is not None else {}
            variant = (
                revision.predictor.name if revision is not None else self._live.get(name, Live(0)).variant
            )
            scaling = self._scaling(name)
            there, unread = self._again(revision, there)
            said = {VARIANT: variant, SCALING: scaling.source, UNREAD: unread}
            deployments.append(maker.deployment(name, place, said, template, there))
            if scaling.metrics and not (place.leaving or place.held):
                autoscalers.append(maker.autoscaler(name, place, scaling))
        return [*deployments, *maker.services(rollout, self._ports(deployments)), *autoscalers]

    def _again(
        self, revision: _Revision | None, there: Mapping[str, Any] | None
    ) -> tuple[Mapping[str, Any] | None, str]:
        """What is there, without a template that was made before its credentials could be read and may go; and whether one stays that was."""
        unread = there is None or UNREAD in mapping(meta(there).get("annotations"))
        if revision is None or not unread:
            return there, "true" if there is not None and unread else ""
        if self._refused or revision.credentials.problem:
            return there, "true"
        if there is None:
            return None, ""
        if whole(mapping(there.get("status")).get("readyReplicas")):
            return there, "true"  # it started without: what runs is not ended for it
        return {**there, "spec": {k: v for k, v in mapping(there.get("spec")).items() if k != "template"}}, ""

    def _template(self, revision: _Revision) -> Json:
        runtime = revision.runtime if isinstance(revision.runtime, Runtime) else None
        return template_of(
            self._service,
            revision.predictor,
            runtime,
            self._settings,
            revision.name,
            credentials=revision.credentials,
        )

    @staticmethod
    def _ports(objects: "list[Json] | tuple[Json, ...]") -> dict[str, int]:
        return {name_of(item): template_port(item) for item in objects if item["kind"] == "Deployment"}
