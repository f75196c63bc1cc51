"""Which addresses the CA itself may connect to: one rule for every call that leaves it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import final

from provisor.core.addresses import Address, Allowed, embedded, refusal_reason


class AddressRefused(OSError):
    """The rule does not let the CA connect there. The text names the address, the reason and the remedy."""


def is_of_this_machine(address: Address) -> bool:
    """Whether a socket of this machine can have this address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


@final
class AddressRule:
    """`listeners` are the ports this CA listens on, on whatever address; `is_own` tells an address of this machine."""

    def __init__(
        self,
        allowed: Iterable[Allowed] = (),
        listeners: Iterable[int] = (),
        is_own: Callable[[Address], bool] = is_of_this_machine,
    ) -> None:
        self._allowed = tuple(allowed)
        self._listeners = frozenset(listeners)
        self._is_own = is_own

    def check(self, host: str, port: int) -> None:
        """`host` is a literal address, a zone may follow. Raises `AddressRefused`."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            raise AddressRefused(f"{host!r} is not an address") from None
        forms = (address, *embedded(address))
        if any(entry.covers(form, port) for entry in self._allowed for form in forms):
            return
        for form in forms:
            if reason := refusal_reason(form):
                raise AddressRefused(self._text(address, form, port, reason))
            if port in self._listeners and self._is_own(form):
                raise AddressRefused(self._text(address, form, port, "a listener of this CA"))

    @staticmethod
    def _text(address: Address, form: Address, port: int, reason: str) -> str:
        shown = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        leads = f" leads to {form}, which" if form != address else ""
        return f"{shown}{leads} is {reason}: list it in provisor.network.allowedAddresses if that is meant"
