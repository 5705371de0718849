"""Do conversations meet the pod that has their beginning cached? Hit rates of picking by the prompt, against least requests.

A synthetic chat: conversations of some turns each, all begun within a minute, each turn holding all turns before it. Every pod remembers the last
prefixes that it worked on (an LRU); a hit is a turn whose whole previous turn its pod still remembers. Pods take a while for an answer,
and users a while to go on. All of it in virtual time, with the gateway's own cores: bodies are scanned, keyed and picked as requests are.
"""

import argparse
import heapq
import json
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.jsonscan import PROMPT_MEMBERS, prompt_key, scan
from gateway.picking import Picking
from loadtests.common import machine, quantiles, table, write_result

HERE = Path(__file__).resolve().parent
BOUND = 3.0
"""Times the hit rate of least requests, at least."""
CHARACTERS = 100
START, THINK, MISS, HIT = 60.0, 10.0, 2.0, 1.0
"""Seconds: in which conversations begin; on average until a user goes on; on average for an answer, without and with the cache."""


@dataclass
class Tally:
    """What came of one run."""

    turns: int = 0
    hits: int = 0
    most_over_bound: float = 0.0
    """Of all picks: what the pod then had open, as a share of what it may have."""
    waits: list[float] = field(default_factory=list)
    per_pod: dict[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float:
        return self.hits / self.turns


class Chat:
    """One run, from the first conversation's first turn to the last one's last answer."""

    def __init__(self, options: argparse.Namespace, picking: Picking, seed: int) -> None:
        self.now = 0.0
        self.tally = Tally()
        self._random = random.Random(seed)  # the same for each policy
        self._bound = picking.bound
        self._turns = options.turns
        self._room = options.prefixes
        self._backend = Backend("llama", Limits(options.concurrency, 10_000, picking=picking), 0.0)
        pods = (EndpointInfo(f"llama-{n}", "10.0.0.1", n, ready=True) for n in range(options.pods))
        self._backend.update(Endpoints(tuple(pods)), 0.0)
        self._caches: dict[str, OrderedDict[tuple[int, int], None]] = {
            uid: OrderedDict() for uid in self._backend.endpoints
        }
        self._serial = count()
        self._events: list[tuple[float, int, Any]] = []
        for conversation in range(options.conversations):
            self._later(self._random.uniform(0, START), lambda c=conversation: self._ask(c, 0))  # type: ignore[misc]

    def run(self) -> Tally:
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()
        return self.tally

    def _later(self, seconds: float, act: Any) -> None:  # noqa: ANN401  # what is done then
        heapq.heappush(self._events, (self.now + seconds, next(self._serial), act))

    def _ask(self, conversation: int, turn: int) -> None:
        body = json.dumps({"model": "llama", "messages": self._messages(conversation, turn)}).encode()
        key = prompt_key(body, scan(body, PROMPT_MEMBERS), CHARACTERS)
        request = Turn(self, conversation, turn)
        endpoint = self._backend.enter(self.now, key)
        if endpoint is None:
            self._backend.wait(Waiter(request, self.now, (), key), self.now)
        else:
            self.tally.waits.append(0.0)
            self._serve(request, endpoint)

    @staticmethod
    def _messages(conversation: int, turn: int) -> list[dict[str, str]]:
        said = [{"role": "system", "content": "You are a helpful assistant. " * 20}]
        for number in range(turn + 1):
            text = (
                f"Conversation {conversation}, question {number}: what else is there to know about it? " * 3
            )
            said.append({"role": "user", "content": text})
            if number < turn:
                said.append({"role": "assistant", "content": f"Answer {number}. " * 40})
        return said

    def _serve(self, request: "Turn", endpoint: Endpoint) -> None:
        self._weigh(endpoint)
        cache = self._caches[endpoint.uid]
        previous = (request.conversation, request.turn - 1)
        hit = previous in cache
        if request.turn:
            self.tally.turns += 1
            self.tally.hits += hit
        if hit:
            cache.move_to_end(previous)
        cache[request.conversation, request.turn] = None
        if len(cache) > self._room:
            cache.popitem(last=False)
        self.tally.per_pod[endpoint.uid] = self.tally.per_pod.get(endpoint.uid, 0) + 1
        seconds = self._random.expovariate(1 / (HIT if hit else MISS))
        self._later(seconds, lambda: self._answered(request, endpoint))

    def _weigh(self, endpoint: Endpoint) -> None:
        pods = self._backend.endpoints.values()
        allowed = ceil(self._bound * sum(pod.in_flight for pod in pods) / len(pods))
        self.tally.most_over_bound = max(self.tally.most_over_bound, endpoint.in_flight / allowed)

    def _answered(self, request: "Turn", endpoint: Endpoint) -> None:
        if request.turn + 1 < self._turns:
            think = self._random.expovariate(1 / THINK)
            self._later(think, lambda: self._ask(request.conversation, request.turn + 1))
        for waiter, freed in self._backend.leave(endpoint, self.now):
            self.tally.waits.append(self.now - waiter.since)
            assert isinstance(waiter.request, Turn)  # noqa: S101  # who else would ask?
            self._serve(waiter.request, freed)


@dataclass(frozen=True)
class Turn:
    """One request of a conversation."""

    chat: Chat
    conversation: int
    turn: int

    def granted(self, endpoint: Endpoint, now: float) -> None:
        """Told by `Backend.leave`'s caller instead."""

    def refused(self, error: Exception) -> None:
        raise error


POLICIES = {
    "least_requests": Picking(),
    "round_robin": Picking("round_robin"),
    "prompt, 125%": Picking("consistent_hash", 1.25),
    "prompt, 200%": Picking("consistent_hash", 2.0),
}


def main() -> None:
    options = arguments()
    found: dict[str, dict[str, Any]] = {}
    for name, picking in POLICIES.items():
        runs = [Chat(options, picking, seed).run() for seed in range(options.runs)]
        found[name] = summary(runs)
    least = found["least_requests"]["hit_rate"]
    for figures in found.values():
        figures["times_least_requests"] = round(figures["hit_rate"] / least, 2)
    rows = [[name, *(figures[key] for key in COLUMNS)] for name, figures in found.items()]
    print(table(["policy", *COLUMNS], rows))
    hashed = found["prompt, 125%"]
    met = hashed["times_least_requests"] >= BOUND and hashed["most_of_bound"] <= 1.0
    print(
        f"hit rate at least {BOUND:g} times that of least requests, load within the bound: {'met' if met else 'MISSED'}"
    )
    workload = {key: value for key, value in vars(options).items() if key != "result"}
    write_result(options.result, machine(), {"workload": workload, "policies": found, "met": met})


COLUMNS = ("hit_rate", "times_least_requests", "most_of_bound", "busiest_pod", "wait_p99")


def summary(runs: list[Tally]) -> dict[str, Any]:
    """Over all runs: means, but for what must hold in each."""
    return {
        "hit_rate": round(fmean(run.hit_rate for run in runs), 4),
        "most_of_bound": round(max(run.most_over_bound for run in runs), 3),
        "busiest_pod": round(
            fmean(max(run.per_pod.values()) / fmean(run.per_pod.values()) for run in runs), 2
        ),
        "wait_p99": round(quantiles([wait for run in runs for wait in run.waits])["p99"], 3),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--pods", type=int, default=8)
    parser.add_argument("--prefixes", type=int, default=125, help="that a pod remembers")
    parser.add_argument("--concurrency", type=int, default=0, help="of a pod; 0: no limit")
    parser.add_argument("--runs", type=int, default=20, help="with seeds of their own")
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
