"""InferenceServices as processes of this machine: Tidegate's own configuration, each revision's container run by its command.

A core. An image cannot be run here, nor can what a cluster puts into a container: what needs such is a Fault that says so. The container's port becomes
`{port}` wherever its command, its arguments or its variables name it, so that each process has its own.
Neighbours: `offline`, of whose answer the configuration is made; `autoscaler.offline` loads it.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from autoscaler.inference.offline import Rendered
from autoscaler.inference.pods import port_of, serving_of
from autoscaler.inference.resource import InferenceService, Predictor, read
from autoscaler.inference.shapes import Fault, Json, listing, mapping, mappings, name_of, text

_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_.][\w.-]*)\)")
_PATH = re.compile(r"/[!-~]*")
_OF_A_CLUSTER = {
    "envFrom": "variables of ConfigMaps and Secrets are in a cluster: write them into `env`",
    "volumeMounts": "volumes are in a cluster: the command runs in this file's folder",
    "volumeDevices": "volumes are in a cluster: the command runs in this file's folder",
    "workingDir": "the command runs in this file's folder: leave it out",
}


def local_faults(item: Mapping[str, object]) -> list[Fault]:
    """Why it cannot be run on this machine, and what of it is not done here."""
    service = read(item)
    found = [fault for predictor in _predictors(service) for fault in _predictor_faults(predictor)]
    if service.percent is not None and service.percent < 100:
        says = "not looked at: a saved file is taken over whole, and no revision from before it is kept"
        found.append(Fault("spec.predictor.canaryTrafficPercent", says, refused=False))
    return found


def local_document(rendered: Rendered) -> Json:
    """`backends` and `routes` of one that has no faults."""
    document = rendered.settled.document or {"backends": {}, "routes": []}
    pods = {
        name_of(item): item["spec"]["template"]["spec"]
        for item in rendered.settled.objects
        if item["kind"] == "Deployment"
    }
    backends = {
        name: _backend(backend, pods[backend["target"]["deployment"]])
        for name, backend in document["backends"].items()
    }
    return {"backends": backends, "routes": document["routes"]}


def _predictors(service: InferenceService) -> list[Predictor]:
    return [service.predictor, *(canary.predictor for canary in service.canaries)]


def _predictor_faults(predictor: Predictor) -> Iterator[Fault]:
    if predictor.model is not None:
        says = "is served by an image, which is not run here: `tidegate up` runs a container that has a `command`"
        yield Fault(f"{predictor.path}.model", says, refused=True)
        return
    where = f"{predictor.path}.containers"
    containers = mappings(predictor.pod.get("containers"))
    if len(containers) > 1:
        yield Fault(where, "one process is run for each pod: leave the other containers out", refused=True)
    if mappings(predictor.pod.get("initContainers")):
        says = "containers that run before are not run here"
        yield Fault(f"{predictor.path}.initContainers", says, refused=True)
    if predictor.storage:
        yield Fault(f"{predictor.path}.storageUris", "models are not fetched here", refused=True)
    for container in containers[:1]:
        yield from _container_faults(container, predictor, f"{where}[0]")


def _container_faults(container: Json, predictor: Predictor, where: str) -> Iterator[Fault]:
    if not listing(container.get("command")):
        says = "has no `command`: its image is not run here, so give it one that runs on this machine"
        yield Fault(where, says, refused=True)
        return
    for key, says in _OF_A_CLUSTER.items():
        if container.get(key):
            yield Fault(f"{where}.{key}", says, refused=True)
    for i, entry in enumerate(mappings(container.get("env"))):
        if entry.get("valueFrom") is not None:
            says = "comes from a cluster: give it a `value`"
            yield Fault(f"{where}.env[{i}].valueFrom", says, refused=True)
        if entry.get("name") == "STORAGE_URI":
            yield Fault(f"{where}.env[{i}]", "models are not fetched here", refused=True)
    port = port_of(predictor.pod)
    command, env = _program(container, port)
    if not any("{port}" in word for word in (*command, *env.values())):
        says = (
            f"names the port, {port}, nowhere in its command, args or env: each process needs one of its own"
        )
        yield Fault(where, says, refused=True)


def _backend(backend: Json, pod: Json) -> Json:
    container = serving_of(pod)
    command, env = _program(container, port_of(pod))
    target: Json = {"command": command} | ({"env": env} if env else {})
    ready = text(mapping(mapping(container.get("readinessProbe")).get("httpGet")).get("path"))
    if _PATH.fullmatch(ready):
        target["ready"] = ready
    # Nobody but this autoscaler counts processes.
    scale = {key: value for key, value in backend["scale"].items() if key != "by"}
    return backend | {"target": target, "scale": scale}


def _program(container: Json, port: int) -> tuple[list[str], dict[str, str]]:
    """What is run, and with which variables; the kubelet's `$(NAME)` is put in, as it may hold the port."""
    own = re.compile(rf"(?<![\w.]){port}(?![\w.])")
    env: dict[str, str] = {}
    for entry in mappings(container.get("env")):
        if text(entry.get("name")):
            env[entry["name"]] = own.sub("{port}", _expanded(text(entry.get("value")), env.get))
    words = [str(word) for key in ("command", "args") for word in listing(container.get(key))]
    return [own.sub("{port}", _expanded(word, env.get)) for word in words], env


def _expanded(word: str, value: Callable[[str], str | None]) -> str:
    """`$$` is a dollar; what names no variable stays as it is."""

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        known = value(match[1])
        return match[0] if known is None else known

    return _VARIABLE.sub(put, word)
