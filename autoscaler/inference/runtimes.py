"""Which model server serves a format: ServingRuntimes of the namespace, ClusterServingRuntimes, then those of this package.

Chosen as KServe does: a runtime that is named must be there, be enabled and take the format and the protocol; otherwise the first that is for
automatic choice, by priority, then by the oldest protocol that it speaks, the newest object, the name. Those of the package come last, and
one of the cluster with the same name replaces them.

A core but for `shipped`, which reads the package's files, once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from autoscaler.inference.shapes import Json, listing, mapping, mappings, meta, name_of, text, texts

_PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")


@dataclass(frozen=True, slots=True)
class Runtime:
    """One ServingRuntime."""

    name: str
    namespace: str
    """ "": it is the cluster's."""
    created: str
    spec: Json
    server_type: str = ""
    shipped: bool = False

    @property
    def disabled(self) -> bool:
        return self.spec.get("disabled") is True

    @property
    def protocols(self) -> list[str]:
        return [p for p in listing(self.spec.get("protocolVersions")) if isinstance(p, str)]

    def speaks(self, protocol: str) -> bool:
        return not self.protocols or protocol in self.protocols

    def takes(self, form: str, version: str, *, chosen: bool) -> bool:
        """`chosen`: by a person, who may name one that is not for automatic choice."""
        return any(
            text(entry.get("name")) == form
            and (not version or text(entry.get("version")) == version)
            and (chosen or entry.get("autoSelect") is True)
            for entry in mappings(self.spec.get("supportedModelFormats"))
        )

    def rank(self, form: str) -> tuple[bool, int]:
        """Smallest first: by the priority of the format's first entry, those without any last."""
        entries = mappings(self.spec.get("supportedModelFormats"))
        priority = next((e.get("priority") for e in entries if text(e.get("name")) == form), None)
        return (False, -priority) if isinstance(priority, int) else (True, 0)

    @property
    def age(self) -> int:
        """Of the oldest protocol that it speaks; what says none, or none that is known, comes last."""
        known = [_PROTOCOLS.index(p) if p in _PROTOCOLS else len(_PROTOCOLS) for p in self.protocols]
        return min(known, default=len(_PROTOCOLS))


@dataclass(frozen=True, slots=True)
class Model:
    """What a runtime is asked for."""

    form: str
    version: str
    protocol: str
    """ "": any."""
    runtime: str
    """ "": whichever fits."""


@dataclass(frozen=True, slots=True)
class NoRuntime:
    """Why there is none, with KServe's reason."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Runtimes:
    """All that may be chosen from."""

    known: tuple[Runtime, ...] = ()

    def choose(self, model: Model, namespace: str) -> Runtime | NoRuntime:
        return self._named(model, namespace) if model.runtime else self._fitting(model, namespace)

    def _named(self, model: Model, namespace: str) -> Runtime | NoRuntime:
        found = sorted(
            (r for r in self.known if r.name == model.runtime and r.namespace in {"", namespace}),
            key=lambda r: (r.shipped, not r.namespace),
        )
        if not found:
            known = sorted({r.name for r in self.known if r.namespace in {"", namespace}})
            return NoRuntime(
                "RuntimeNotRecognized", f"there is no {model.runtime}; there are {', '.join(known)}"
            )
        runtime = found[0]
        if runtime.disabled:
            return NoRuntime("RuntimeDisabled", f"{runtime.name} is disabled")
        if not runtime.takes(model.form, model.version, chosen=True):
            return NoRuntime("NoSupportingRuntime", f"{runtime.name} does not take {_format(model)}")
        if model.protocol and not runtime.speaks(model.protocol):
            return NoRuntime(
                "NoSupportingRuntime", f"{runtime.name} does not speak protocol {model.protocol}"
            )
        return runtime

    def _fitting(self, model: Model, namespace: str) -> Runtime | NoRuntime:
        protocol = model.protocol or "v1"
        fit = [
            r
            for r in self._distinct(namespace)
            if not r.disabled
            and r.spec.get("multiModel") is not True
            and r.spec.get("workerSpec") is None
            and r.takes(model.form, model.version, chosen=False)
            and r.speaks(protocol)
        ]
        if not fit:
            says = f"no runtime takes {_format(model)} by protocol {protocol}"
            return NoRuntime(
                "NoSupportingRuntime", f"{says}: make a ServingRuntime that does, or name another"
            )
        # Stable sorts, the least important first.
        fit.sort(key=lambda r: r.name)
        fit.sort(key=lambda r: r.created, reverse=True)
        fit.sort(key=lambda r: r.age)
        return min(fit, key=lambda r: (r.shipped, not r.namespace, *r.rank(model.form)))

    def _distinct(self, namespace: str) -> list[Runtime]:
        here = [r for r in self.known if r.namespace in {"", namespace}]
        own = {r.name for r in here if not r.shipped}
        return [r for r in here if not (r.shipped and r.name in own)]


def _format(model: Model) -> str:
    return f"{model.form} {model.version}".strip()


def runtime_of(item: Mapping[str, Any], *, shipped: bool = False) -> Runtime:
    """Of a ServingRuntime or a ClusterServingRuntime."""
    about = meta(item)
    cluster = item.get("kind") == "ClusterServingRuntime"
    return Runtime(
        name=name_of(item),
        namespace="" if cluster else text(about.get("namespace")),
        created=text(about.get("creationTimestamp")),
        spec=mapping(item.get("spec")),
        server_type=texts(about.get("annotations")).get("serving.kserve.io/server-type", ""),
        shipped=shipped,
    )


@cache
def shipped() -> tuple[Runtime, ...]:
    """Those of this package."""
    folder = files("autoscaler.inference") / "runtimes"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return tuple(runtime_of(yaml.safe_load((folder / name).read_text()), shipped=True) for name in names)


def runtimes_of(items: Iterable[Mapping[str, Any]]) -> Runtimes:
    """Of the cluster's objects and the package's."""
    return Runtimes((*(runtime_of(item) for item in items), *shipped()))
