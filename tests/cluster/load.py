"""Clients that ask one after another, and what they were answered."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

BODY = {"instances": [[6.8, 2.8, 4.8, 1.4]]}
PATH = "/v1/models/iris:predict"
PATIENCE = aiohttp.ClientTimeout(total=180)


@dataclass
class Load:
    """The answers so far: by status, or by the error's name; and by the model's version."""

    url: str
    host: str = ""
    """That is asked for; "": the URL's own."""
    answers: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    clients: int = 0
    _wanted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def failed(self) -> dict[str, int]:
        return {status: count for status, count in self.answers.items() if status != "200"}

    async def ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.post(self.url + PATH, json=BODY, headers=headers_for(self.host)) as answer:
                text = await answer.text()
                self.answers[str(answer.status)] += 1
                self.versions[answer.headers.get("x-model-version", "")] += 1
                if answer.status != 200:
                    self.details.append(text)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            self.details.append(str(error))

    def want(self, clients: int) -> None:
        """Have so many clients from now on; those that are too many finish what they asked."""
        self._wanted = clients
        while self.clients < clients:
            self.clients += 1
            task = asyncio.create_task(self._client())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _client(self) -> None:
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            while self.clients <= self._wanted:
                await self.ask(session)
            self.clients -= 1  # in the turn of the look, or two would leave where one is too many

    async def end(self) -> None:
        """Let all finish."""
        self.want(0)
        await asyncio.gather(*self._tasks)


def headers_for(host: str) -> dict[str, str]:
    return {"Host": host} if host else {}


@contextlib.asynccontextmanager
async def loaded(url: str, clients: int, host: str = "") -> AsyncIterator[Load]:
    load = Load(url, host)
    load.want(clients)
    try:
        yield load
    finally:
        await load.end()
