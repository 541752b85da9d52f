"""Seats and waiting places at the door, counted without a network."""

import pytest

from dicom_node.reception.acceptor.connections import ADDRESSES, Connections


def _enter(door: Connections, name: str, address: str, gone: list[str]) -> None:
    door.enter(name, address, lambda: gone.append(name))


def test_at_the_limit_of_an_address_its_oldest_connection_is_closed() -> None:
    door, gone = Connections(waiting_for_each=2, seats=1), list[str]()
    for name, address in (("other", "10.0.0.1"), ("a", "10.0.0.2"), ("b", "10.0.0.2")):
        _enter(door, name, address, gone)
    assert gone == []
    _enter(door, "c", "10.0.0.2", gone)
    assert gone == ["a"]
    _enter(door, "d", "10.0.0.2", gone)
    assert gone == ["a", "b"]


def test_at_the_limit_of_all_addresses_the_oldest_of_all_is_closed() -> None:
    door, gone = Connections(waiting_for_each=2, seats=1), list[str]()
    for number in range(2 * ADDRESSES):
        _enter(door, f"{number}", f"10.0.0.{number}", gone)
    assert gone == []
    _enter(door, "one more", "10.0.1.1", gone)
    assert gone == ["0"]


def test_a_crowded_address_makes_room_itself_even_where_the_door_is_full() -> None:
    door, gone = Connections(waiting_for_each=2, seats=1), list[str]()
    for number in range(2 * ADDRESSES):
        _enter(door, f"{number}", f"10.0.0.{number // 2}", gone)
    _enter(door, "third", "10.0.0.5", gone)
    assert gone == ["10"]


def test_a_connection_that_sits_or_has_left_no_longer_waits() -> None:
    door, gone = Connections(waiting_for_each=1, seats=1), list[str]()
    _enter(door, "seated", "10.0.0.1", gone)
    assert door.sit("seated")
    _enter(door, "left", "10.0.0.1", gone)
    door.leave("left")
    _enter(door, "waiting", "10.0.0.1", gone)
    assert gone == []
    _enter(door, "next", "10.0.0.1", gone)
    assert gone == ["waiting"]


@pytest.mark.parametrize("seats", [1, 3])
def test_there_are_as_many_seats_as_stated_and_one_that_is_left_is_free(seats: int) -> None:
    door, gone = Connections(waiting_for_each=10, seats=seats), list[str]()
    for number in range(seats + 1):
        _enter(door, f"{number}", "10.0.0.1", gone)
    assert [door.sit(f"{number}") for number in range(seats + 1)] == [True] * seats + [False]
    door.leave(f"{seats}")
    assert not door.sit("another")
    door.leave("0")
    assert door.sit("another")


def test_one_that_finds_no_seat_goes_on_waiting_and_can_still_be_closed() -> None:
    door, gone = Connections(waiting_for_each=1, seats=0), list[str]()
    _enter(door, "standing", "10.0.0.1", gone)
    assert not door.sit("standing")
    _enter(door, "next", "10.0.0.1", gone)
    assert gone == ["standing"]


def test_leaving_twice_frees_no_seat_of_another() -> None:
    door, gone = Connections(waiting_for_each=1, seats=1), list[str]()
    _enter(door, "a", "10.0.0.1", gone)
    door.leave("a")
    assert door.sit("b")
    door.leave("a")
    assert not door.sit("c")


def test_hanging_up_may_come_back_to_the_door() -> None:
    """What closes a connection reports that it has left, in the same thread."""
    door, gone = Connections(waiting_for_each=1, seats=1), list[str]()

    def hang_up() -> None:
        door.leave("a")
        gone.append("a")

    door.enter("a", "10.0.0.1", hang_up)
    _enter(door, "b", "10.0.0.1", gone)
    assert gone == ["a"]
    _enter(door, "c", "10.0.0.1", gone)
    assert gone == ["a", "b"]
