"""What the limit on open files allows."""

import resource
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openfiles import KEPT, MOST, most_connections, raise_open_files

Limit = tuple[int, int]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Limit]]:
    """A system with these limits; what was set is appended to the list."""

    def system(soft: int, hard: int, failure: Exception | None = None) -> list[Limit]:
        was_set: list[Limit] = []

        def setrlimit(_which: int, limits: Limit) -> None:
            if failure is not None:
                raise failure
            was_set.append(limits)

        monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", setrlimit)
        return was_set

    return system


def test_the_soft_limit_is_raised_to_the_hard_one(system: Callable[..., list[Limit]]) -> None:
    """Which needs no rights."""
    was_set = system(1024, 20000)
    assert raise_open_files() == 20000
    assert was_set == [(20000, 20000)]


@pytest.mark.parametrize("failure", [ValueError("above the kernel's own"), OSError(1, "not permitted")])
def test_where_it_cannot_be_raised_it_stays(system: Callable[..., list[Limit]], failure: Exception) -> None:
    """The gateway starts with what it has."""
    system(1024, 20000, failure)
    assert raise_open_files() == 1024


def test_no_limit_is_a_large_one(system: Callable[..., list[Limit]]) -> None:
    """So that it can be reckoned with."""
    system(1024, resource.RLIM_INFINITY)
    assert raise_open_files() == MOST


def test_clients_leave_room_for_connections_to_pods() -> None:
    """A quarter, and what the process itself needs."""
    assert most_connections(KEPT + 1000, 0) == 750
    assert most_connections(KEPT + 1000, 100) == 100
    assert most_connections(KEPT + 1000, 5000) == 750


@given(st.integers(1, MOST), st.integers(0, 1_000_000))
def test_there_is_always_a_limit_and_room_for_one(files: int, wanted: int) -> None:
    """However few files there are; never more than were asked for."""
    most = most_connections(files, wanted)
    assert 1 <= most <= max(1, files)
    assert not wanted or most <= wanted
