"""A lab that runs: its namespaces and its switch, and a socket by which it is told to cut, to heal and to end."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, LittoralError, NodeError, NotFoundError
from littoral.lab.firewall import Firewall, has_firewall
from littoral.lab.namespaces import Port, address_of, checked_machine, close, left_over, namespace_of, open_port, remove
from littoral.lab.rootless import lab_folder, way_inside
from littoral.lab.shape import Shape, Way, Wires
from littoral.lab.switch import Switch

if TYPE_CHECKING:
    from littoral.lab.nodes import LabNodes

__all__ = ["NODE_COUNT_MAX", "Lab", "Order", "State", "end", "tell"]

NODE_COUNT_MAX = 64
ORDER_BYTES_MAX = 4096
ANSWER_S = 5.0


class Node(msgspec.Struct):
    """One node of a lab. namespace: for `ip netns exec`. is_up: None where the lab runs no nodes."""

    number: int
    namespace: str
    address: str
    is_away: bool
    is_up: bool | None = None


class State(msgspec.Struct):
    """What a lab says of itself. cuts: who makes them, `nftables` or the lab's own `switch`. enter: what comes before
    `ip netns exec`, for a lab without root. error: why an order was refused.
    """

    name: str = ""
    nodes: list[Node] = []
    shape: Shape = Shape()
    passed_count: int = 0
    dropped_count: int = 0
    cuts: str = ""
    enter: str = ""
    error: str = ""


class Order(msgspec.Struct):
    """way: of `cut`."""

    verb: Literal["state", "cut", "heal", "freeze", "thaw", "kill", "start", "end"]
    nodes: list[int] = []
    way: Way = "both"


class Lab:
    """Open until `close`. with_host: the host has an address among the nodes, and a way to them without shape.

    with_firewall: cuts are made by nftables where they can be, else by the switch.
    """

    def __init__(
        self,
        name: str,
        node_count: int,
        shape: Shape,
        *,
        seed: int = 0,
        with_host: bool = True,
        with_firewall: bool = True,
    ) -> None:
        if not 2 <= node_count <= NODE_COUNT_MAX:
            raise InputError(f"a lab of {node_count} nodes: must be 2 to {NODE_COUNT_MAX}")
        self._wires = Wires(shape, seed)
        checked_machine()
        if left := left_over(name):
            raise ConflictError(f"lab `{name}`: is there already: {', '.join(left)}", hint="littoral lab down")
        self.name = name
        self.nodes: LabNodes | None = None
        """That obey orders; the lab's owner ends them."""
        self._ports: list[Port] = []
        self._socket: socket.socket | None = None
        try:
            for number in range(0 if with_host else 1, node_count + 1):
                self._ports.append(open_port(name, number))
            self._socket = _listening(name)
        except BaseException:
            self.close()
            raise
        self._switch = Switch(self._ports, self._wires, SYSTEM)
        spaces = {port.number: port.namespace for port in self._ports if port.namespace is not None}
        has_nft = with_firewall and has_firewall(namespace_of(name, 1))
        self._cuts: Wires | Firewall = Firewall(spaces) if has_nft else self._wires

    def run(self) -> None:
        """Until it is told to end."""
        assert self._socket is not None
        self._switch.run(self._socket.fileno(), self._obey)

    def state(self) -> State:
        """For who asks."""
        numbers = [port.number for port in self._ports if port.number]
        return State(
            self.name,
            [
                Node(
                    number,
                    namespace_of(self.name, number),
                    address_of(number),
                    number in self._cuts.away,
                    None if self.nodes is None else self.nodes.is_up(number),
                )
                for number in numbers
            ],
            self._wires.shape,
            self._switch.passed_count,
            self._switch.dropped_count,
            "nftables" if isinstance(self._cuts, Firewall) else "switch",
            way_inside(),
        )

    def close(self) -> None:
        """Removes every namespace and what was made for it."""
        if self._socket is not None:
            self._socket.close()
            _place(self.name).unlink(missing_ok=True)
        for port in self._ports:
            close(port)
        self._ports.clear()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _obey(self) -> bool:
        assert self._socket is not None
        data, place = self._socket.recvfrom(ORDER_BYTES_MAX)
        try:
            order = msgspec.json.decode(data, type=Order)
            self._do(order)
            answer, goes_on = self.state(), order.verb != "end"
        except (msgspec.DecodeError, LittoralError) as error:
            answer, goes_on = State(error=str(error)), True
        # Who asked may be gone.
        with contextlib.suppress(OSError):
            self._socket.sendto(msgspec.json.encode(answer), place)
        return goes_on

    def _do(self, order: Order) -> None:
        known = {port.number for port in self._ports if port.number}
        if unknown := set(order.nodes) - known:
            raise NotFoundError(f"lab `{self.name}`: no node {min(unknown)}, there are 1 to {max(known)}")
        if order.verb == "cut":
            self._cuts.cut(order.nodes, order.way)
        elif order.verb == "heal":
            self._cuts.heal()
        elif order.verb in ("freeze", "thaw", "kill", "start"):
            self._to_nodes(order)

    def _to_nodes(self, order: Order) -> None:
        if self.nodes is None:
            raise NotFoundError(f"lab `{self.name}`: it runs no nodes", hint="it was brought up with `--bare`")
        for number in order.nodes:
            getattr(self.nodes, order.verb)(number)


def tell(name: str, order: Order) -> State:
    """What the lab of that name answers. Raises NotFoundError where none runs, NodeError for what it refuses."""
    with _asking(name) as asking:
        try:
            asking.sendto(msgspec.json.encode(order), str(_place(name)))
            answer = msgspec.json.decode(asking.recv(1 << 20), type=State)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotFoundError(f"lab `{name}`: none runs", hint="littoral lab up") from error
        except TimeoutError as error:
            raise NodeError(f"lab `{name}`: did not answer in {ANSWER_S:.0f} s") from error
    if answer.error:
        raise NodeError(answer.error)
    return answer


def end(name: str) -> list[str]:
    """Ends a lab; gives the namespaces that a lab which did not end well had left, and which are gone now."""
    try:
        tell(name, Order("end"))
    except NotFoundError:
        if os.geteuid() != 0:
            return []
        checked_machine()
        left = left_over(name)
        remove(left)
        return left
    return []


def _place(name: str) -> Path:
    return lab_folder() / f"{name}.socket"


def _listening(name: str) -> socket.socket:
    _place(name).unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.bind(str(_place(name)))
    return opened


@contextlib.contextmanager
def _asking(name: str) -> Iterator[socket.socket]:
    own = lab_folder() / f"{name}.{os.getpid()}.socket"
    own.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(str(own))
        opened.settimeout(ANSWER_S)
        try:
            yield opened
        finally:
            own.unlink(missing_ok=True)
