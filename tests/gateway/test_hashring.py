"""The ring: where pods stand, and who is met in which order."""

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from gateway.endpoint import Endpoint
from gateway.hashring import POINTS, Ring, hashed, points


def test_a_pod_has_its_points_in_every_process() -> None:
    """They are BLAKE2b of its uid: what is written here holds for all gateways."""
    found = points("pod-a")
    assert (len(found), len(set(found))) == (POINTS, POINTS)
    assert found[0] == int.from_bytes(blake2b(b"pod-a\x000").digest()[:8], "big")
    assert hashed(b"") == 0xE4A6A0577479B2B4


@given(st.sets(st.text(max_size=5), max_size=6), st.integers(0, 2**64 - 1), st.data())
def test_a_walk_meets_all_points_once_from_the_key_on(uids: set[str], key: int, data: st.DataObject) -> None:
    """In their order on the ring, whatever was put in and taken out."""
    ring = Ring()
    endpoints = {uid: Endpoint(uid, "127.0.0.1", 1) for uid in uids}
    for endpoint in endpoints.values():
        ring.add(endpoint)
    gone = data.draw(st.sets(st.sampled_from(sorted(uids)))) if uids else set()
    for uid in gone:
        ring.remove(endpoints[uid])
    left = sorted((point, uid) for uid in uids - gone for point in points(uid))
    first = [uid for point, uid in left if point >= key]
    around = [uid for point, uid in left if point < key]
    assert [endpoint.uid for endpoint in ring.walk(key)] == first + around
    assert repr(ring) == f"<Ring of {len(left)} points>"
