"""Will pods come up? A table of what is there and what those who wait are told."""

from dataclasses import replace

import pytest

from gateway.kube.objects import parse_selector
from gateway.kube.pods import Pod
from gateway.kube.starting import Outlook, Starts
from gateway.kube.workloads import Workload

IMAGE = ("ImagePullBackOff", "no such image")
POD = Pod("a", "pod-a", "n", (), None, False, False, False, 0.0, 0, None, False, 0, None, None, None)
STUCK = replace(POD, stuck=IMAGE)
WORKLOAD = Workload("apps/v1", "Deployment", "n", "iris", "u", "p", "1", 1, parse_selector("app=iris"))
TOLD = "pod pod-a: ImagePullBackOff: no such image"


def test_a_stuck_pod_is_given_up_after_ten_seconds() -> None:
    """Until then it is only slow, and is looked at again when its time comes."""
    starts = Starts()
    assert starts.judge([STUCK], WORKLOAD, [], 100.0) == Outlook(None, TOLD, 10.0)
    assert starts.judge([STUCK], WORKLOAD, [], 104.0) == Outlook(None, TOLD, 6.0)
    assert starts.judge([STUCK], WORKLOAD, [], 110.0) == Outlook(TOLD, TOLD)


def test_every_new_pod_must_be_stuck() -> None:
    """One that may still come up is waited for, for as long as it takes."""
    other = replace(POD, uid="b", name="pod-b")
    starts = Starts()
    starts.judge([STUCK, other], WORKLOAD, [], 0.0)
    assert starts.judge([STUCK, other], WORKLOAD, [], 60.0) == Outlook(None, TOLD)


def test_every_one_for_ten_seconds() -> None:
    """The one that was stuck last decides."""
    starts = Starts()
    starts.judge([STUCK], WORKLOAD, [], 0.0)
    later = replace(STUCK, uid="b")
    assert starts.judge([STUCK, later], WORKLOAD, [], 12.0).again_in == 10.0
    assert starts.judge([STUCK, later], WORKLOAD, [], 22.0).cannot_start == TOLD


def test_a_ready_pod_clears_it() -> None:
    """Whatever the others are stuck in."""
    starts = Starts()
    starts.judge([STUCK], WORKLOAD, [], 0.0)
    assert starts.judge([STUCK, POD], WORKLOAD, ["a"], 60.0) == Outlook()


def test_a_pod_that_was_unstuck_begins_anew() -> None:
    """Its image came after all, and then it crashed."""
    starts = Starts()
    starts.judge([STUCK], WORKLOAD, [], 0.0)
    starts.judge([POD], WORKLOAD, [], 5.0)
    assert starts.judge([STUCK], WORKLOAD, [], 12.0).cannot_start is None


def test_a_quota_is_told_at_once() -> None:
    """When there is no pod that could still come up."""
    failing = replace(WORKLOAD, failure="exceeded quota")
    assert Starts().judge([], failing, [], 0.0).cannot_start == "exceeded quota"
    assert Starts().judge([POD], failing, [], 0.0) == Outlook(None, "exceeded quota")


def test_at_zero_replicas_an_old_failure_says_nothing() -> None:
    """Nobody has tried since."""
    failing = replace(WORKLOAD, failure="exceeded quota", replicas=0)
    assert Starts().judge([], failing, [], 0.0).cannot_start is None


@pytest.mark.parametrize("now", [0.0, 1000.0])
def test_a_pod_without_a_node_is_only_slow(now: float) -> None:
    """A node may be on its way."""
    waiting = replace(POD, unschedulable="0/3 nodes are available")
    assert Starts().judge([waiting], WORKLOAD, [], now) == Outlook(
        None, "pod pod-a: 0/3 nodes are available", None
    )


def test_no_pods_are_no_reason() -> None:
    """They are yet to be made."""
    assert Starts().judge([], WORKLOAD, [], 0.0) == Outlook()
    assert Starts().judge([], None, [], 0.0) == Outlook()


def test_the_newest_pods_reason_is_told() -> None:
    """An older one may be of a roll-out that has been mended since."""
    newest = replace(POD, uid="b", name="pod-b", stuck=("CrashLoopBackOff", "exit code 3"))
    starts = Starts()
    starts.judge([STUCK, newest], WORKLOAD, [], 0.0)
    told = "pod pod-b: CrashLoopBackOff: exit code 3"
    assert starts.judge([STUCK, newest], WORKLOAD, [], 10.0) == Outlook(told, told)


def test_a_pod_that_runs_and_does_not_get_ready_says_why() -> None:
    """It may take long to load, so it is waited for."""
    running = replace(
        POD, running=True, unready="its Ready condition is False: containers with unready status"
    )
    assert Starts().judge([running], WORKLOAD, [], 600.0) == Outlook(
        None, "pod pod-a: its Ready condition is False: containers with unready status"
    )
