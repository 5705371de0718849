"""Local processes as pods: started, probed, restarted, ended, and published into the gateway's feed.

`manager` keeps one Backend at its count, on callbacks of `spawn` (processes) and `gateway.probe` (readiness). `pod` is one
pod's life, `tether` has it die with us, `restarts` is the pure counting of deaths, `ports` and `logs` are what a pod is
given. Share one Spawner and one Ports among all backends.
"""

from autoscaler.processes.manager import LocalPods
from autoscaler.processes.pod import PodTemplate
from autoscaler.processes.ports import Ports
from autoscaler.processes.spawn import Spawner

__all__ = ["LocalPods", "PodTemplate", "Ports", "Spawner"]
