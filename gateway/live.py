"""What `tidegate up` shows: a table that keeps itself up to date above nothing and below the log, or plain log lines.

The loop only takes a Snapshot of plain numbers, twice a second. Drawing, and every write to the terminal, log lines included, is a
thread's: a terminal that stands still (Ctrl-S) must not stop requests. What the thread cannot get rid of is dropped, not kept.
"""

import asyncio
import logging
import logging.handlers
import queue
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from gateway.routing import PathRule, Route
from gateway.state import Rate, Rates, Row, Snapshot

logger = logging.getLogger(__name__)

INTERVAL = 0.5
SUMMARY_EVERY = 10.0
"""Seconds between two summary lines in plain mode, while there is traffic."""
MAX_CURLS = 5
"""Routes whose curl lines the table shows at most."""

Decisions = Mapping[str, tuple[int, str]]
"""By Backend: the replicas that the autoscaler wants, and why."""

_COLUMNS = (("route", 15), ("pods", 7), ("in flight", 9), ("queued", 6), ("req/s", 7), ("p50", 6), ("p99", 6))
"""Headings and widths after the Backend's name, which has what is left: 15 cells of 80."""
_WIDEST_NAME = 40

_ONE_CHARACTER = re.compile(r"(\[[^\]]+\]|\\[dw]|(?<!\\)\.)[+*]?")
"""In a regex: a class or a dot, and how often it comes."""


# -- curl


def curl_lines(routes: Iterable[Route[Any]], listen: str, *, secure: bool = False) -> list[tuple[str, str]]:
    """For each Route its name and a command that reaches it. `listen` is the gateway's own address, `host:port`.

    `secure`: it speaks TLS; with a certificate that is hardly for this address, so curl is told not to mind.
    """
    curl, scheme = ("curl -k", "https") if secure else ("curl", "http")
    host, _, port = listen.rpartition(":")
    address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return [(route.name, _curl(curl, route, f"{scheme}://{address}:{port}")) for route in routes]


def _curl(curl: str, route: Route[Any], origin: str) -> str:
    path, matches = _example(route.paths[0])
    host = route.hosts[0].decode("latin-1").replace("*", "any", 1) if route.hosts else None
    header = f"-H {shlex.quote(f'Host: {host}')} " if host else ""
    comment = "" if matches else f"  # put in a path that matches {route.paths[0]}"
    return f"{curl} {header}{shlex.quote(origin + quote(path, safe='/%:@!$&()*+,;=~'))}{comment}"


def _example(rule: PathRule) -> tuple[str, bool]:
    """A path that the rule takes, and whether it does: a regex is only guessed at."""
    text = rule.value.decode("latin-1")
    if rule.kind != "regex":
        return text, True
    guess = re.sub(r"\(\?P<\w+>|\(\?:", "(", text.removeprefix("^").removesuffix("$"))
    guess = re.sub(r"\(([^|()]*)[^()]*\)", r"\1", guess)
    guess = _ONE_CHARACTER.sub(lambda one: next((c for c in "x1" if re.fullmatch(one[1], c)), "x"), guess)
    guess = re.sub(r"\\(.)", r"\1", guess)
    return guess, re.fullmatch(text, guess) is not None


# -- the table's text


def draw(snapshot: Snapshot, rates: Rates, decisions: Decisions, size: ConsoleDimensions) -> list[Text]:
    """The table's lines, that fit into a terminal of `size` with a line to spare for the cursor."""
    width, height = size
    head = [_title(snapshot), Text(), _headings(width)]
    foot = _footer(snapshot)
    fits = max(1, (height - len(head) - len(foot) - 2) // 2)
    body: list[Text] = []
    for row in snapshot.rows[:fits]:
        body += _backend(row, rates.of(row.name), decisions.get(row.name), width)
    left_out = len(snapshot.rows[fits:]) + snapshot.more
    if left_out:
        body.append(Text(f"and {left_out} more backends: see /v1/state", style="dim"))
    lines = head + body + foot
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[: height - 1]


def _title(snapshot: Snapshot) -> Text:
    style = "bold green" if snapshot.status == "ready" else "bold yellow"
    listen = " ".join(snapshot.listen) or "not listening"
    return Text.assemble(
        ("Tidegate", "bold"),
        f"  {listen}  ",
        (snapshot.status, style),
        (f"  up {_age(snapshot.uptime)}", "dim"),
    )


def _age(seconds: float) -> str:
    """Coarse, so that an idle table does not change each second."""
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _headings(width: int) -> Text:
    name = set_cell_size("backend", _name_width(width))
    return Text(name + "".join(f" {heading:>{cells}}" for heading, cells in _COLUMNS), style="bold")


def _name_width(width: int) -> int:
    return min(_WIDEST_NAME, max(8, width - sum(cells + 1 for _, cells in _COLUMNS)))


def _backend(row: Row, rate: Rate, decision: tuple[int, str] | None, width: int) -> list[Text]:
    wanted = "-" if decision is None else str(decision[0])
    cells = (
        " ".join(f"{route} {weight}" for route, weight in row.weights) or "none",
        f"{row.ready}/{wanted}",
        str(row.in_flight),
        str(row.queued),
        "-" if rate.per_second is None else f"{rate.per_second:.1f}",
        _duration(rate.p50),
        _duration(rate.p99),
    )
    line = Text(_fit(row.name, _name_width(width)), style="bold" if row.in_flight or row.queued else "")
    for text, (_, cell_width) in zip(cells, _COLUMNS, strict=True):
        line.append(" " + _fit(text, cell_width, right=True))
    return [line, _why(row, decision)]


def _fit(text: str, width: int, *, right: bool = False) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def _why(row: Row, decision: tuple[int, str] | None) -> Text:
    """What matters most of a Backend, in words: why it cannot start, else the last decision's reason."""
    if row.cannot_start is not None:
        return Text(f"  cannot start: {_one_line(row.cannot_start)}", style="red")
    parts = [] if decision is None else [f"wants {decision[0]}: {_one_line(decision[1])}"]
    if row.draining:
        parts.insert(0, f"{row.draining} draining")
    if row.starting_for is not None:
        parts.insert(0, f"starting for {row.starting_for:.0f} s")
    return Text(f"  {'; '.join(parts) or 'no decision yet'}", style="dim")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _curls(snapshot: Snapshot, most: int | None = None) -> list[tuple[str, str]]:
    return curl_lines(snapshot.routes[:most], snapshot.listen[0], secure=snapshot.secure)


def _footer(snapshot: Snapshot) -> list[Text]:
    if not snapshot.listen:
        return []
    lines = [Text(line, style="cyan") for _, line in _curls(snapshot, MAX_CURLS)]
    left_out = len(snapshot.routes) - len(lines)
    if left_out > 0:
        lines.append(Text(f"and {left_out} more routes", style="dim"))
    return [Text(), *lines]


# -- the terminal


class _ToTerminal(logging.handlers.QueueHandler):
    """Log records for the terminal's thread, as long as it keeps up."""

    def enqueue(self, record: logging.LogRecord) -> None:
        # A terminal that stands still has filled the queue: there is nowhere to say so.
        with suppress(queue.Full):
            self.queue.put_nowait(record)


class LiveTable:
    """The table on a terminal, from `__enter__` to `__exit__`, which leaves the last one standing and the cursor visible.

    Meanwhile the root logger writes above it.
    """

    def __init__(
        self, console: Console, snapshot: Callable[[], Snapshot], decisions: Callable[[], Decisions]
    ) -> None:
        self._console = console
        self._snapshot = snapshot
        self._decisions = decisions
        self._rates = Rates()
        self._queue: queue.Queue[tuple[Snapshot, Decisions] | logging.LogRecord | None] = queue.Queue(
            maxsize=1000
        )
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._drawing = False
        self._shown: list[Text] = []
        self._handlers: list[logging.Handler] = []

    async def run(self) -> None:
        """Keep the table up to date until cancelled."""
        while True:
            self.refresh()
            await asyncio.sleep(INTERVAL)

    def refresh(self) -> None:
        """Take the numbers of this moment and have them drawn, unless the last ones are still on their way."""
        if self._drawing:
            return
        with suppress(queue.Full):
            self._queue.put_nowait((self._snapshot(), dict(self._decisions())))
            self._drawing = True

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._handlers, root.handlers = root.handlers, [_ToTerminal(self._queue)]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        logging.getLogger().handlers = self._handlers
        with suppress(queue.Full):
            self._queue.put(None, timeout=1)
        self._thread.join(timeout=1)
        return False

    def _write(self) -> None:
        """The thread: all that is written to the terminal."""
        handler = RichHandler(console=self._console, show_path=False)
        live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        # OSError: the terminal is gone, and with it whoever looked at it.
        with suppress(OSError), live:
            while (item := self._queue.get()) is not None:
                if isinstance(item, logging.LogRecord):
                    handler.handle(item)
                else:
                    self._show(live, *item)

    def _show(self, live: Live, snapshot: Snapshot, decisions: Decisions) -> None:
        self._rates.add(snapshot)
        lines = draw(snapshot, self._rates, decisions, self._console.size)
        self._drawing = False
        if lines != self._shown:
            self._shown = lines
            live.update(Group(*lines), refresh=True)

    def __repr__(self) -> str:
        return f"<LiveTable {'shown' if self._thread.is_alive() else 'not shown'}, {self._queue.qsize()} waiting>"


# -- without a terminal


class PlainLog:
    """The same as log lines: each change of a Backend's replicas or decision, and a summary while there is traffic."""

    def __init__(self, snapshot: Callable[[], Snapshot], decisions: Callable[[], Decisions]) -> None:
        self._snapshot = snapshot
        self._decisions = decisions
        self._rates = Rates()
        self._told: dict[str, tuple[int, int | None, str | None]] = {}
        self._curls: list[tuple[str, str]] = []
        self._summary_due = 0.0

    async def run(self) -> None:
        """Log until cancelled."""
        while True:
            for line in self.news(self._snapshot(), self._decisions()):
                logger.info("%s", line)
            await asyncio.sleep(INTERVAL)

    def news(self, snapshot: Snapshot, decisions: Decisions) -> list[str]:
        """What there is to say of this moment that was not said before."""
        self._rates.add(snapshot)
        lines = self._routes(snapshot)
        for row in snapshot.rows:
            decision = decisions.get(row.name)
            fact = (row.ready, decision and decision[0], row.cannot_start)
            if self._told.get(row.name, (0, None, None)) != fact:
                lines.append(_sentence(row, decision))
            self._told[row.name] = fact
        lines += self._summary(snapshot)
        return lines

    def _routes(self, snapshot: Snapshot) -> list[str]:
        curls = _curls(snapshot) if snapshot.listen else []
        if curls == self._curls:
            return []
        self._curls = curls
        return [f"route {name}: {line}" for name, line in curls]

    def _summary(self, snapshot: Snapshot) -> list[str]:
        if snapshot.at < self._summary_due:
            return []
        parts = []
        for row in snapshot.rows:
            rate = self._rates.of(row.name)
            if rate.per_second is not None and (rate.per_second or row.in_flight or row.queued):
                parts.append(
                    f"{row.name} {rate.per_second:.1f} req/s, {row.in_flight} in flight, {row.queued} queued, "
                    f"p50 {_duration(rate.p50)}, p99 {_duration(rate.p99)}"
                )
        if parts:
            self._summary_due = snapshot.at + SUMMARY_EVERY
        return ["; ".join(parts)] if parts else []

    def __repr__(self) -> str:
        return f"<PlainLog of {len(self._told)} backends>"


def _sentence(row: Row, decision: tuple[int, str] | None) -> str:
    if row.cannot_start is not None:
        return f"{row.name}: {row.ready} pods ready, cannot start: {_one_line(row.cannot_start)}"
    if decision is None:
        return f"{row.name}: {row.ready} pods ready"
    return f"{row.name}: {row.ready} of {decision[0]} pods ready ({_one_line(decision[1])})"
