"""What one Backend allows, and how it treats its pods: the configuration's words, as the cores have them.

Core. `config.table` makes these, a Backend takes them over at each reload.
"""

from dataclasses import dataclass, field

from gateway.ejection import EjectionPolicy
from gateway.picking import Picking
from gateway.queues import Discipline

PANIC = 0.5
"""Of the pods that accept connections: with fewer that are not out, all are used."""


@dataclass(frozen=True)
class Limits:
    """What a Backend allows. Times are seconds."""

    concurrency: int = 0
    """Requests open to a pod at once; 0: no limit."""
    depth: int = 100
    queue_timeout: float = 60.0
    activation_timeout: float = 300.0
    hold: bool = False
    """A request whose client left keeps its slot until the pod has answered."""
    paused: bool = False
    """Nobody starts pods; said to whoever has waited too long."""
    bytes: int = 0
    """Of heads and bodies that may wait at once; 0: no limit."""
    discipline: Discipline = "fifo"
    picking: Picking = field(default_factory=Picking)
    slow_start: float = 0.0
    """How long a new pod gets less than the others; 0.0: not at all."""
    ejection: EjectionPolicy | None = None
    """None: what pods answer puts none out."""
    panic: float = PANIC
    checked: bool = False
    """Pods have health checks, which decide who comes back."""
