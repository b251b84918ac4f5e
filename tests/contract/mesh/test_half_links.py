"""When all links are made anew: a peer that was here is linked and not here, for longer than that mends itself."""

from littoral.mesh.half_links import PATIENCE_LEASES, REST_S, HalfLinks

LEASE_S = 2.0
DUE_S = PATIENCE_LEASES * LEASE_S


def watched() -> HalfLinks:
    links = HalfLinks(LEASE_S, 0.0)
    assert not links.suspects({"a", "b"})
    return links


def test_a_peer_that_is_linked_and_not_here_is_waited_for_and_then_not() -> None:
    links = watched()
    assert links.suspects({"a"})
    assert not links.is_broken({"a", "b"}, {"a"}, 10.0)
    assert not links.is_broken({"a", "b"}, {"a"}, 10.0 + DUE_S - 0.1)
    assert links.is_broken({"a", "b"}, {"a"}, 10.0 + DUE_S)


def test_who_is_not_linked_or_came_back_meanwhile_is_no_reason() -> None:
    links = watched()
    assert not links.is_broken({"a", "b"}, {"a"}, 10.0)
    assert not links.is_broken({"a"}, {"a"}, 11.0)
    assert not links.is_broken({"a", "b"}, {"a"}, 10.0 + DUE_S)
    assert not links.is_broken({"a", "b"}, {"a", "b"}, 50.0)


def test_who_was_never_here_is_not_missed() -> None:
    links = watched()
    for now_s in (10.0, 10.0 + DUE_S, 100.0):
        assert not links.is_broken({"a", "b", "stranger"}, {"a", "b"}, now_s)


def test_links_that_do_not_mend_it_are_not_made_anew_all_the_time() -> None:
    links = watched()
    links.is_broken({"b"}, set(), 10.0)
    assert links.is_broken({"b"}, set(), 20.0)
    links.begin()
    assert not links.suspects({"a"})
    links.suspects({"a", "b"})
    assert not links.is_broken({"b"}, {"a"}, 21.0)
    assert not links.is_broken({"b"}, {"a"}, 20.0 + REST_S - 0.1)
    assert links.is_broken({"b"}, {"a"}, 20.0 + REST_S)
