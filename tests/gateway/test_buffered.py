"""How much the gateway holds back, over all connections."""

from gateway.buffered import Buffered
from gateway.errors import OVERLOADED


def test_there_is_room_up_to_the_bound() -> None:
    """What finds none takes nothing; what is given back can be had again."""
    buffered = Buffered(100)
    assert (buffered.hold(60), buffered.hold(41), buffered.hold(40)) == (True, False, True)
    assert buffered.held == 100
    buffered.release(60)
    assert (buffered.held, buffered.hold(60), buffered.hold(1)) == (40, True, False)


def test_without_a_bound_there_is_always_room() -> None:
    """It is counted all the same."""
    buffered = Buffered()
    assert buffered.hold(10**12)
    assert buffered.held == 10**12


def test_a_lowered_bound_drops_nothing() -> None:
    """It refuses more."""
    buffered = Buffered(100)
    buffered.hold(80)
    buffered.bound = 50
    assert (buffered.hold(1), buffered.held) == (False, 80)


def test_the_refusal_says_what_is_held_and_when_to_come_again() -> None:
    """It is the gateway's own state, not the client's fault."""
    buffered = Buffered(100)
    buffered.hold(80)
    error = buffered.refusal()
    assert (error.reason, error.retry_after) == (OVERLOADED, 1.0)
    assert error.detail == "the gateway holds 80 bytes of requests that wait, and takes no more"


def test_it_says_what_it_holds() -> None:
    """Of how much."""
    assert repr(Buffered(5)) == "<Buffered 0 of 5 bytes>"
    assert repr(Buffered()) == "<Buffered 0 of any number of bytes>"
