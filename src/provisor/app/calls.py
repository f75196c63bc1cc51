"""How this process asks webhooks: its connections, and the certificates it trusts and shows."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import final

from provisor.config.ca_json import CAConfig
from provisor.core.addresses import parse_allowed
from provisor.core.names import split_host_port
from provisor.net.address import AddressRule
from provisor.net.http import Outgoing, check_url
from provisor.ports import CallReply
from provisor.server.tls import ServerLeaf, load_leaf


@final
class WebhookCaller:
    """One for a configuration. Its connections are kept, and closed with it."""

    def __init__(self, config: CAConfig, roots: Sequence[bytes], leaf: ServerLeaf | None) -> None:
        """`leaf` is the CA's own server certificate, which a webhook may ask for; None shows none."""
        network = config.provisor.network
        rule = AddressRule([parse_allowed(entry) for entry in network.allowed_addresses], listeners=own_ports(config))
        self._outgoing = Outgoing(rule, proxy_from_environment=network.proxy_from_environment)
        self._roots = tuple(roots)
        self._leaf = leaf
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def replace_leaf(self, leaf: ServerLeaf) -> None:
        """Connections that are open keep the old one."""
        self._leaf = leaf
        self._contexts.pop(True, None)

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, with_certificate: bool
    ) -> CallReply:
        check_url(url)
        reply = await self._outgoing.send(
            "POST", url, headers=headers, body=body, tls=self._context(with_certificate), seconds=seconds
        )
        return CallReply(reply.status, reply.body)

    def _context(self, with_certificate: bool) -> ssl.SSLContext:
        context = self._contexts.get(with_certificate)
        if context is None:
            context = ssl.create_default_context()
            if with_certificate:
                context.load_verify_locations(cadata=b"".join(self._roots))
                if self._leaf is not None:
                    load_leaf(context, self._leaf)
            self._contexts[with_certificate] = context
        return context

    async def close(self) -> None:
        await self._outgoing.close()


def own_ports(config: CAConfig) -> list[int]:
    """The ports this CA listens on."""
    ports = []
    for address in (config.address, config.insecure_address, config.metrics_address):
        if address:
            port = split_host_port(address)[1]
            if port.isdecimal():
                ports.append(int(port))
    return ports
