"""What is read of a pod: readiness, marks, what it may be asked, what keeps it from coming up."""

from typing import Any

import pytest

from gateway.kube.pods import DELETION_COST, DRAINING, HttpCheck, Pod, pod_of


def item(
    *,
    meta: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "iris-0",
            "namespace": "models",
            "uid": "u1",
            "creationTimestamp": "1970-01-01T00:01:00Z",
            "labels": {"app": "iris"},
            **(meta or {}),
        },
        "spec": {"containers": [{"name": "c"}], **(spec or {})},
        "status": status or {},
    }


def waiting(
    reason: str, *, restarts: int = 0, message: str = "", last: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": last} if last else {},
    }


def probed(probe: dict[str, Any], **container: Any) -> Pod:
    return pod_of(item(spec={"containers": [{"name": "c", "readinessProbe": probe, **container}]}))


@pytest.mark.parametrize(("text", "cost"), [("-1000", -1000), ("7", 7), ("cheap", 0), ("", 0), ("1e3", 0)])
def test_a_deletion_cost_is_a_number_or_nothing(text: str, cost: int) -> None:
    """As a ReplicaSet reads it."""
    assert pod_of(item(meta={"annotations": {DELETION_COST: text}})).cost == cost
    assert pod_of(item()).cost == 0


def test_a_pod_is_read_as_it_stands() -> None:
    """A ready one, with its address."""
    pod = pod_of(
        item(
            status={
                "phase": "Running",
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"restartCount": 2, "state": {"running": {}}}],
            }
        )
    )
    assert (pod.uid, pod.path, pod.host) == ("u1", "/api/v1/namespaces/models/pods/iris-0", "10.0.0.1")
    assert (pod.ready, pod.running, pod.restarts, pod.created) == (True, True, 2, 60.0)
    assert not pod.draining
    assert not pod.terminating


def test_a_new_pod_has_nothing_yet() -> None:
    """No address, no status, no node."""
    pod = pod_of(item())
    assert (pod.host, pod.ready, pod.running, pod.checks, pod.stuck, pod.unschedulable) == (
        None,
        False,
        False,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("meta", "phase", "terminating"),
    [
        ({"deletionTimestamp": "1970-01-01T00:02:00Z"}, "Running", True),
        ({}, "Succeeded", True),
        ({}, "Failed", True),
        ({}, "Running", False),
    ],
)
def test_a_pod_that_ends_is_terminating(meta: dict[str, Any], phase: str, terminating: bool) -> None:
    """From the moment that somebody deleted it, or once it has ended by itself."""
    assert pod_of(item(meta=meta, status={"phase": phase})).terminating is terminating


def test_our_mark_makes_it_draining() -> None:
    """Whatever its value says."""
    assert pod_of(item(meta={"annotations": {DRAINING: "x"}})).draining


@pytest.mark.parametrize(("owner", "ordinal"), [("StatefulSet", 0), ("ReplicaSet", None)])
def test_only_a_statefulsets_pods_have_ordinals(owner: str, ordinal: int | None) -> None:
    """The number at the end of any other name means nothing."""
    assert pod_of(item(meta={"ownerReferences": [{"kind": owner}]})).ordinal == ordinal


@pytest.mark.parametrize(
    ("probe", "check"),
    [
        (
            {"httpGet": {"port": 80, "path": "/ready"}, "periodSeconds": 5, "timeoutSeconds": 2},
            HttpCheck(80, "/ready", timeout=2.0, period=5.0),
        ),
        ({"httpGet": {"port": "http"}}, HttpCheck(8080, "/")),
        ({"httpGet": {"port": "8081", "path": "ready"}}, HttpCheck(8081, "/ready")),
        (
            {
                "httpGet": {
                    "port": 80,
                    "scheme": "HTTPS",
                    "httpHeaders": [{"name": "Host", "value": "x"}],
                }
            },
            HttpCheck(80, "/", secure=True, headers=(("Host", "x"),)),
        ),
        ({"httpGet": {"port": 80, "path": "/a b\r\n?c=%20é"}}, HttpCheck(80, "/a%20b%0D%0A?c=%20%C3%A9")),
        ({"tcpSocket": {"port": 80}}, HttpCheck(80)),
    ],
)
def test_a_probe_that_we_can_do_is_read(probe: dict[str, Any], check: HttpCheck) -> None:
    """With the kubelet's defaults."""
    assert probed(probe, ports=[{"name": "http", "containerPort": 8080}]).checks == (check,)


@pytest.mark.parametrize(
    "probe",
    [
        {"exec": {"command": ["true"]}},
        {"grpc": {"port": 80}},
        {"httpGet": {"port": "no-such"}},
        {"tcpSocket": {"port": 80}, "successThreshold": 2},
        {"httpGet": {"port": 80, "host": "127.0.0.1"}},
        {"tcpSocket": {"port": 80, "host": "db.example"}},
        {"httpGet": {"port": 80, "httpHeaders": [{"name": "X", "value": "a\r\nY: b"}]}},
        {"httpGet": {"port": 80, "httpHeaders": [{"name": "X: y\r\nZ", "value": "a"}]}},
    ],
)
def test_a_probe_that_only_the_kubelet_can_do_is_left_to_it(probe: dict[str, Any]) -> None:
    """Then its Ready condition counts. Another host is that of the node's own network, and no pod shall tell us where to connect."""
    assert probed(probe).checks is None


TCP = {"tcpSocket": {"port": 1}}
HTTP = {"httpGet": {"port": 2, "path": "/started"}}


def test_until_a_container_has_started_its_startup_probe_must_pass_too() -> None:
    """The kubelet would not even have begun to ask whether it is ready."""
    spec = {"containers": [{"name": "c", "readinessProbe": TCP, "startupProbe": HTTP}]}
    started = {"containerStatuses": [{"name": "c", "started": True, "state": {"running": {}}}]}
    assert pod_of(item(spec=spec)).checks == (HttpCheck(1), HttpCheck(2, "/started"))
    assert pod_of(item(spec=spec, status=started)).checks == (HttpCheck(1),)


def test_a_startup_probe_that_only_the_kubelet_can_do_is_left_to_it() -> None:
    """In whichever container it is."""
    spec = {
        "containers": [
            {"name": "c", "readinessProbe": TCP},
            {"name": "d", "startupProbe": {"exec": {"command": ["true"]}}},
        ]
    }
    assert pod_of(item(spec=spec)).checks is None
    started = {"containerStatuses": [{"name": "d", "started": True}]}
    assert pod_of(item(spec=spec, status=started)).checks == (HttpCheck(1),)


def test_a_sidecar_among_the_init_containers_must_be_ready_too() -> None:
    """Other init containers are none of a ready pod's."""
    sidecar = {"name": "s", "restartPolicy": "Always", "readinessProbe": HTTP}
    spec = {"containers": [{"name": "c", "readinessProbe": TCP}], "initContainers": [sidecar, {"name": "i"}]}
    assert pod_of(item(spec=spec)).checks == (HttpCheck(1), HttpCheck(2, "/started"))


def test_a_pod_runs_once_its_sidecars_do() -> None:
    """Init containers that have ended do not count."""
    spec = {"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]}
    running, waits = {"state": {"running": {}}}, {"state": {"waiting": {}}}
    ended = {"name": "i", "state": {"terminated": {}}}
    for sidecar in (running, waits):
        status = {
            "containerStatuses": [{"name": "c", **running}],
            "initContainerStatuses": [ended, {"name": "s", "restartCount": 2, **sidecar}],
        }
        pod = pod_of(item(spec=spec, status=status))
        assert (pod.running, pod.restarts) == (sidecar is running, 2)


def test_with_readiness_gates_others_decide_too() -> None:
    """Our own look would go past them."""
    spec = {
        "readinessGates": [{"conditionType": "x"}],
        "containers": [{"readinessProbe": {"tcpSocket": {"port": 1}}}],
    }
    assert pod_of(item(spec=spec)).checks is None


def test_one_container_whose_probe_we_cannot_do_is_enough() -> None:
    """All must be ready, so all must be asked."""
    spec = {
        "containers": [
            {"readinessProbe": {"tcpSocket": {"port": 1}}},
            {"readinessProbe": {"exec": {}}},
        ]
    }
    assert pod_of(item(spec=spec)).checks is None


CRASHED = {"reason": "Error", "exitCode": 3, "message": "no model\n"}


@pytest.mark.parametrize(
    ("status", "stuck"),
    [
        (waiting("ImagePullBackOff", message="no such image"), ("ImagePullBackOff", "no such image")),
        (waiting("ErrImagePull"), ("ErrImagePull", "")),
        (waiting("CreateContainerConfigError", message="no map"), ("CreateContainerConfigError", "no map")),
        (waiting("CrashLoopBackOff", restarts=1), None),
        (
            waiting("CrashLoopBackOff", restarts=2, message="back-off 20s", last=CRASHED),
            ("CrashLoopBackOff", "back-off 20s; Error, exit code 3: no model"),
        ),
        (
            waiting("CrashLoopBackOff", restarts=2, last={"reason": "OOMKilled", "exitCode": 137}),
            ("CrashLoopBackOff", "OOMKilled, exit code 137"),
        ),
        (waiting("ContainerCreating"), None),
        ({"restartCount": 5, "state": {"running": {}}}, None),
    ],
)
def test_what_will_hardly_pass_is_told_with_its_message(
    status: dict[str, Any], stuck: tuple[str, str] | None
) -> None:
    """An image, a configuration, a second crash; a first one may be bad luck."""
    assert pod_of(item(status={"containerStatuses": [status]})).stuck == stuck


def test_an_init_container_may_be_what_is_stuck() -> None:
    """As one that fetches a model."""
    status = {"initContainerStatuses": [waiting("ImagePullBackOff", message="m")]}
    assert pod_of(item(status=status)).stuck == ("ImagePullBackOff", "m")


def test_a_pod_without_a_node_tells_why() -> None:
    """The scheduler's own words."""
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert pod_of(item(status={"conditions": [scheduled]})).unschedulable == "0/3 nodes"
    bound = {"type": "PodScheduled", "status": "True"}
    assert pod_of(item(status={"conditions": [bound]})).unschedulable is None


def since(kind: str, at: str = "2026-01-01T00:00:01Z", status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": at}


def running(at: str | None) -> dict[str, Any]:
    return {"state": {"running": {"startedAt": at}} if at else {"waiting": {}}}


def test_a_pods_way_up_is_read() -> None:
    """When it was scheduled, when its init containers had ended, and when the last of its containers ran."""
    conditions = [since("PodScheduled", "T1"), since("Initialized", "T2")]
    status = {"conditions": conditions, "containerStatuses": [running("T4"), running("T3")]}
    assert pod_of(item(spec={"initContainers": [{}]}, status=status)).times == ("T1", "T2", "T4")
    assert pod_of(item(status=status)).times == ("T1", "", "T4")


def test_a_pod_on_its_way_up_has_not_got_there() -> None:
    """What is not there yet is empty."""
    conditions = [since("PodScheduled", status="False"), since("Initialized", status="False")]
    status = {"conditions": conditions, "containerStatuses": [running("T"), running(None)]}
    assert pod_of(item(spec={"initContainers": [{}]}, status=status)).times == ("", "", "")


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (
            {"status": "False", "message": "containers with unready status: [c]"},
            "containers with unready status: [c]",
        ),
        ({"status": "False", "reason": "ReadinessGatesNotReady"}, "ReadinessGatesNotReady"),
    ],
)
def test_what_runs_without_getting_ready_says_why(condition: dict[str, str], told: str) -> None:
    """In the kubelet's words; before its containers run they say nothing that is not known."""
    state = {
        "containerStatuses": [{"state": {"running": {}}}],
        "conditions": [{"type": "Ready", **condition}],
    }
    assert pod_of(item(status=state)).unready == f"it runs, and its Ready condition is False: {told}"
    assert pod_of(item(status={**state, "containerStatuses": [waiting("ContainerCreating")]})).unready is None


def requesting(*requests: dict[str, str], **spec: Any) -> tuple[float | None, float | None]:
    containers = [{"name": "c", "resources": {"requests": one}} for one in requests]
    return pod_of(item(spec={"containers": containers, **spec})).requests


def test_a_pods_requests_are_those_of_its_containers() -> None:
    """In cores and bytes; what one of them leaves open is not known of the pod."""
    assert requesting({"cpu": "250m", "memory": "1Gi"}, {"cpu": "1", "memory": "1Mi"}) == (
        1.25,
        2.0**30 + 2**20,
    )
    assert requesting({"cpu": "250m"}, {"cpu": "250m", "memory": "1Gi"}) == (0.5, None)
    assert pod_of(item()).requests == (None, None)


def test_containers_that_run_beside_the_others_request_too() -> None:
    """An init container that restarts always does; one that ends has given its share back."""
    beside = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    before = {"resources": {"requests": {"cpu": "4"}}}
    assert requesting({"cpu": "400m"}, initContainers=[beside, before]) == (0.5, None)


def test_a_pod_may_request_as_a_whole() -> None:
    """Then its containers need not say anything."""
    assert requesting({}, {}, resources={"requests": {"cpu": "2"}}) == (2.0, None)
