"""The ways into the CA that need a credential, one class a kind, each with a good credential to begin from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provisor.server.routes import Credential
from support.authority import Answer, MemoryCA, make_config
from support.credentials import (
    Party,
    TokenSigner,
    make_csr,
    make_key,
    make_party,
    make_signer,
    provisioner_extension,
)

TOKEN_ID: Final = "the-one-time-id"
"""The `jti` of every token of a case: whether it is spent is what the cases ask."""


class World:
    """A CA with provisioners of several tempers, and a certificate it issued a minute ago.

    `norenew` renews nothing, `tolerant` also what has expired, `templated` is disabled in this version.
    """

    def __init__(self, **members: Any) -> None:
        self.ci = make_signer("ci")
        self.other = make_signer("other")
        self.norenew = make_signer("norenew")
        self.tolerant = make_signer("tolerant")
        self.templated = make_signer("templated")
        provisioners = (
            self.ci.entry(provisor={"explain": True}),
            self.other.entry(),
            self.norenew.entry(claims={"disableRenewal": True}),
            self.tolerant.entry(claims={"allowRenewalAfterExpiry": True}),
            self.templated.entry(options={"wire": {"oidc": {}}}),
            {"type": "ACME", "name": "acme"},
        )
        signers = (self.ci, self.other, self.norenew, self.tolerant, self.templated)
        self.ca = MemoryCA(make_config(*provisioners, **members), signers=signers)
        self.leaf = self.ca.issue()
        self.ca.clock.advance(minutes=1)

    def forge(self, common_name: str = "a.test", provisioner: str = "ci", **settings: Any) -> Party:
        """A certificate signed with the issuing key that is on no record."""
        extensions = [provisioner_extension(provisioner)] if provisioner else []
        return make_party(
            common_name, self.ca.pki.issuer, now=self.ca.clock.now, **{"extensions": extensions, **settings}
        )

    def revoke(self, leaf: Party) -> None:
        body = {"serial": str(leaf.serial), "ott": self.ca.revoke_token(leaf.serial), "passive": True}
        assert self.ca.call("POST", "/revoke", body).status == 200


class TokenDoor:
    """`/sign`, `/explain` and `/revoke` by one-time token."""

    credential = Credential.TOKEN

    def __init__(self, world: World, path: str) -> None:
        self.world = world
        self.path = path
        word = path.rpartition("/")[2]
        self.operation = "sign" if word == "explain" else word
        self.key = make_key()
        self.success = 201 if word == "sign" else 200

    def claims(self, signer: TokenSigner | None = None, **over: Any) -> dict[str, object]:
        if self.operation == "revoke":
            over = {"sub": str(self.world.leaf.serial), "sans": [], **over}
        return self.world.ca.claims(signer or self.world.ci, self.operation, **{"jti": TOKEN_ID, **over})

    def good(self, signer: TokenSigner | None = None, header: Mapping[str, object] | None = None, **over: Any) -> str:
        claims: dict[str, Any] = self.claims(signer, **over)
        absent = dict.fromkeys(self.world.ca.claims(self.world.ci), ...)
        return self.world.ca.token(signer or self.world.ci, header=header, **{**absent, **claims})

    def body(self, token: str, **over: object) -> dict[str, object]:
        if self.operation == "sign":
            return {"csr": make_csr(self.key), "ott": token, **over}
        return {"serial": str(self.world.leaf.serial), "ott": token, "passive": True, **over}

    def send(self, token: str, **over: object) -> Answer:
        return self.world.ca.call("POST", self.path, self.body(token, **over))


class BearerDoor:
    """`/renew` by a token that a certificate's key signed."""

    credential = Credential.BEARER

    def __init__(self, world: World, path: str) -> None:
        self.world = world
        self.path = path
        self.success = 201

    def claims(self, **over: object) -> dict[str, object]:
        return self.world.ca.renew_claims(self.world.leaf, **{"jti": TOKEN_ID, **over})

    def good(self, leaf: Party | None = None, header: Mapping[str, object] | None = None, **over: Any) -> str:
        claims: dict[str, Any] = {"jti": TOKEN_ID, **over}
        return self.world.ca.renew_token(leaf or self.world.leaf, header=header, **claims)

    def send(self, token: str) -> Answer:
        return self.world.ca.call("POST", self.path, headers=[("Authorization", f"Bearer {token}")])


class CertificateDoor:
    """`/renew`, `/rekey` and `/revoke` by TLS client certificate."""

    credential = Credential.CERTIFICATE

    def __init__(self, world: World, path: str) -> None:
        self.world = world
        self.path = path
        self.operation = path.rpartition("/")[2]
        self.success = 200 if self.operation == "revoke" else 201

    def body(self, client: Party | bytes | None, **over: object) -> dict[str, object] | None:
        if self.operation == "rekey":
            return {"csr": make_csr(make_key()), **over}
        if self.operation == "revoke":
            serial = client.serial if isinstance(client, Party) else self.world.leaf.serial
            return {"serial": str(serial), "passive": True, **over}
        return None

    def send(self, client: Party | bytes | None, **over: object) -> Answer:
        return self.world.ca.call("POST", self.path, self.body(client, **over), client_certificate=client)


Door = TokenDoor | BearerDoor | CertificateDoor

DOORS: Final[Mapping[Credential, type[Door]]] = {
    Credential.TOKEN: TokenDoor,
    Credential.BEARER: BearerDoor,
    Credential.CERTIFICATE: CertificateDoor,
}
