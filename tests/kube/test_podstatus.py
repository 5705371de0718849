from typing import Any

import pytest

from tests.kube import podstatus
from tests.kube.podstatus import Backoff, ContainerView

POD: dict[str, Any] = {"metadata": {"name": "iris", "namespace": "models", "uid": "u-1"}, "spec": {}}
RUNNING = podstatus.running(0)


def ended(code: int) -> dict[str, Any]:
    return podstatus.terminated(code, 0, 1, "process://1")


def view(state: dict[str, Any], **others: Any) -> ContainerView:
    return ContainerView("model", "demo/iris:1", state, **others)


def conditions(
    *views: ContainerView, pod: dict[str, Any] = POD, before: Any = (), now: float = 0
) -> dict[str, Any]:
    told = podstatus.status(pod, views, "127.9.0.2", 0, before=before, now=now)
    return {condition["type"]: condition for condition in told["conditions"]}


def test_restarts_wait_as_a_kubelet_has_them_wait() -> None:
    """At once, then 10 s, doubling, at most 5 minutes."""
    backoff, now, waits = Backoff(10), 0.0, []
    for _ in range(8):
        waits.append(backoff.died(now))
        now += waits[-1] + 1
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.died(now + 700) == 0


@pytest.mark.parametrize(
    ("states", "policy", "phase"),
    [
        ([podstatus.waiting("ContainerCreating")], "Always", "Pending"),
        ([RUNNING], "Always", "Running"),
        ([RUNNING, podstatus.waiting("ErrImagePull")], "Always", "Pending"),
        ([ended(1)], "Always", "Running"),
        ([ended(0)], "Never", "Succeeded"),
        ([ended(0), ended(1)], "Never", "Failed"),
        ([ended(0), ended(1)], "OnFailure", "Running"),
        ([ended(1), RUNNING], "Never", "Running"),
    ],
)
def test_the_phase_follows_from_the_containers(states: list[Any], policy: str, phase: str) -> None:
    """As a kubelet's getPhase has it."""
    assert podstatus.phase_of([view(state) for state in states], policy) == phase


def test_a_container_between_two_lives_leaves_the_pod_running() -> None:
    """CrashLoopBackOff is no going back to Pending."""
    looping = view(podstatus.crash_loop(10, "model", POD), last_state=ended(1))
    assert podstatus.phase_of([looping], "Always") == "Running"


def test_unready_containers_are_named() -> None:
    """Ready and ContainersReady say which and why."""
    told = conditions(view(RUNNING))
    for kind in ("Ready", "ContainersReady"):
        assert told[kind]["status"] == "False"
        assert told[kind]["message"] == "containers with unready status: [model]"
    assert told["Initialized"]["status"] == told["PodScheduled"]["status"] == "True"


def test_a_condition_keeps_its_time_while_it_stays() -> None:
    """The time told is the time of a change."""
    before = podstatus.status(POD, [view(RUNNING)], "127.9.0.2", 0, before=(), now=100)["conditions"]
    told = conditions(view(RUNNING, ready=True), before=before, now=200)
    assert told["Initialized"]["lastTransitionTime"] == "1970-01-01T00:01:40Z"
    assert told["Ready"]["lastTransitionTime"] == "1970-01-01T00:03:20Z"


def test_a_readiness_gate_holds_back_ready_alone() -> None:
    """Until somebody else sets its condition, which is kept."""
    gated = POD | {"spec": {"readinessGates": [{"conditionType": "example.com/warm"}]}}
    told = conditions(view(RUNNING, ready=True), pod=gated)
    assert told["ContainersReady"]["status"] == "True"
    assert told["Ready"]["reason"] == "ReadinessGatesNotReady"
    warm = {"type": "example.com/warm", "status": "True"}
    told = conditions(view(RUNNING, ready=True), pod=gated | {"status": {"conditions": [warm]}})
    assert told["Ready"]["status"] == "True"
    assert told["example.com/warm"] == warm


def test_the_schedulers_condition_is_kept() -> None:
    """PodScheduled is not the node's to write."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    pod = POD | {"status": {"conditions": [scheduled]}}
    assert conditions(view(RUNNING), pod=pod)["PodScheduled"] == scheduled


def test_a_death_by_a_signal_has_a_shells_exit_code() -> None:
    """137 is what everybody knows SIGKILL by."""
    assert ended(-9)["terminated"]["exitCode"] == 137


def test_a_crash_loop_is_worded_as_a_kubelet_does() -> None:
    """Container, pod, namespace and uid."""
    assert podstatus.crash_loop(80, "model", POD) == podstatus.waiting(
        "CrashLoopBackOff",
        "back-off 1m20s restarting failed container=model pod=iris_models(u-1)",
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "250ms"), (10, "10s"), (80, "1m20s"), (300, "5m0s"), (2.5, "2.5s")]
)
def test_durations_are_written_as_go_does(seconds: float, words: str) -> None:
    """They end up in messages."""
    assert podstatus.duration(seconds) == words
