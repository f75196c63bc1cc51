"""Gate, sign, commit: what the notary does with entries. It waits for its store, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from msgspec import Struct

from provisor.core.tree_head import SignedHead, TreeHead, is_signed
from provisor.core.x509.check import ParsedTBS
from provisor.core.x509.crl import assemble_crl
from provisor.core.x509.draft import assemble
from provisor.errors import Forbidden, NotSupported, ProvisorError, Unavailable
from provisor.notary import gate
from provisor.notary.keyring import ACTIVE, GateRules, Keyring, SigningIssuer
from provisor.ports import Entry, EntryID, IssuerID, MetaIs, Outcome, PutIssuer, PutMeta, StoreHealth, ToSign, Write
from provisor.storage.base import SignedCertificate, Store, StoreFailed

UNKNOWN: Final = "unknown"
"""Status of an entry whose commit failed so that nobody can tell; never leaves `submit`, which raises."""

CONFIGURATION: Final = "configuration"
"""Meta: the digest of the configuration in force; with `/DIGEST` behind it, the epoch in which that one was last."""

_PROBE_SECONDS: Final = 10
_HEAD_PAUSE: Final = 10
"""Seconds between the heads that a costly key signs."""

_PARSER_FAULTS: Final = (ValueError, TypeError, LookupError, ArithmeticError, UnsupportedAlgorithm)
"""What odd bytes may do to a parser that is not ours; it concerns their entry alone."""

_NO_KEY: Final = "issuer is not in the keyring"


class Admitted(Struct, frozen=True):
    """An entry whose certificate may be signed."""

    entry: Entry
    sign: ToSign
    parsed: ParsedTBS
    signing: SigningIssuer

    @property
    def costly(self) -> bool:
        return self.signing.signer.costly


@final
class NotaryCore:
    """The store's only writer, and the keys. Used from one thread, but for `sign` and `sign_list`."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], random: Callable[[int], bytes]) -> None:
        """Signs nothing until `install`."""
        self.store = store
        self._clock = clock
        self._random = random
        self._keyring: Keyring = {}
        self._rules = GateRules()
        self._failure = ""
        self._written_at = 0
        self._authority = ""
        self._last_head: TreeHead | None = None
        self._suspended = ""

    async def install(
        self,
        keyring: Keyring,
        rules: GateRules,
        *,
        above: int = 0,
        configuration: str = "",
        event: bytes | None = None,
    ) -> int:
        """Use these keys and rules from now on, under a new epoch greater than `above`, which is returned.

        Entries of an older epoch are refused from the same commit on; issuers that are active in the
        store and not among these become retiring. `configuration` is the digest of what replicas have in
        common: if it is the one in force, its epoch is returned and nobody else has to change. `event` goes
        into the audit log with a new epoch. Raises `Unavailable`, then nothing has changed.
        """
        health = await self.store.health()
        stored, self._authority = health.epoch, health.authority
        if configuration and configuration == health.configuration and stored > above:
            epoch = stored
        else:
            epoch = max(stored, above) + 1
            await self._put_in_force(keyring, stored, epoch, configuration, event)
        self._keyring, self._rules, self._suspended = dict(keyring), rules, ""
        return epoch

    async def _put_in_force(
        self, keyring: Keyring, stored: int, epoch: int, configuration: str, event: bytes | None
    ) -> None:
        gone = [r for r in await self.store.issuers() if r.state == "active" and r.id not in keyring]
        writes: list[Write] = [PutIssuer(record.id, record.certificate, "retiring") for record in gone]
        writes += [PutIssuer(id_, s.issuer.certificate.der, s.state) for id_, s in keyring.items()]
        if configuration:
            writes += [PutMeta(CONFIGURATION, configuration), PutMeta(f"{CONFIGURATION}/{configuration}", str(epoch))]
        entry = Entry(
            id=self._generate_id(),
            guards=(MetaIs("epoch", str(stored) if stored else None),),
            writes=(*writes, PutMeta("epoch", str(epoch))),
            event=event,
        )
        (outcome,) = await self._commit([entry], [None])
        if not outcome.committed:
            raise Unavailable(f"configuration not recorded: {outcome.status} {outcome.guard}{outcome.reason}")

    def suspend(self, reason: str) -> None:
        """Sign and write nothing until the next `install`: another configuration is in force."""
        self._suspended = reason

    def resume(self) -> None:
        """The configuration that was installed is in force again."""
        self._suspended = ""

    # -- the steps ------------------------------------------------------------------------------

    def is_costly(self, entry: Entry) -> bool:
        """Whether the signature that the entry asks for is one to make elsewhere: `examine` it first."""
        if entry.sign is None:
            return False
        signing = self._keyring.get(entry.sign.issuer)
        return signing is not None and signing.signer.costly

    async def examine(self, entries: Sequence[Entry]) -> list[Outcome | Admitted]:
        """Entries that ask for a costly signature, before the key is used: what is decided already, what may be signed.

        The guards are looked at here too, so that a replay costs no signature.
        """
        if self._suspended:
            return [_unavailable(entry.id, self._suspended) for entry in entries]
        now = self._clock()
        try:
            await self._recover()
            verdicts = await self.store.precheck(entries, now=int(now.timestamp()))
        except StoreFailed as failure:
            self._failure = failure.detail
            return [_unavailable(entry.id, failure.detail) for entry in entries]
        return [
            self._admit(entry, now) if verdict is None else verdict
            for entry, verdict in zip(entries, verdicts, strict=True)
        ]

    def sign(self, admitted: Admitted) -> SignedCertificate:
        """Use the key. May be called from another thread for a costly one.

        Raises `NotSupported` or `Unavailable`; `failed_outcome` puts it into words.
        """
        issuer, sign, parsed = admitted.signing.issuer, admitted.sign, admitted.parsed
        signature = admitted.signing.signer.sign(sign.tbs, parsed.signature_algorithm)
        der = assemble(sign.tbs, parsed.signature_algorithm, signature)
        if admitted.costly:
            _verify_certificate(der, issuer.certificate.der)
        return SignedCertificate(der, int(parsed.not_before.timestamp()), int(parsed.not_after.timestamp()))

    async def commit(self, entries: Sequence[Entry], signed: Sequence[SignedCertificate | None]) -> list[Outcome]:
        """One durable transaction, signing in it what is not signed yet and may be.

        If it fails, the store is reopened and the outcomes looked up there.
        """
        if self._suspended:
            return [_unavailable(entry.id, self._suspended) for entry in entries]
        return await self._commit(entries, signed)

    async def _commit(self, entries: Sequence[Entry], signed: Sequence[SignedCertificate | None]) -> list[Outcome]:
        if not entries:
            return []
        moment = self._clock()
        now = int(moment.timestamp())
        answers: list[SignedCertificate | Outcome | None] = list(signed)

        def sign(index: int) -> SignedCertificate | Outcome:
            answer = answers[index]
            if answer is None:
                answer = answers[index] = self._examine_and_sign(entries[index], moment)
            return answer

        try:
            await self._recover()
            outcomes = await self.store.commit(entries, sign, now=now)
        except StoreFailed as failure:
            self._failure = failure.detail
            return await self._settle(entries, failure)
        self._written_at = now
        return outcomes

    def sign_list(self, issuer: IssuerID, tbs: bytes) -> bytes:
        """The DER of a CRL. Raises `Forbidden` if these bytes are none of this issuer, `Unavailable`."""
        signing = self.find_signing(issuer)
        if signing is None:
            raise Forbidden(_NO_KEY)
        gate.check_crl(tbs, signing.issuer, self._rules, self._clock())
        signature = signing.signer.sign(tbs, signing.issuer.signature_algorithm)
        der = assemble_crl(tbs, signing.issuer, signature)
        if signing.signer.costly:
            _verify_crl(der, signing)
        return der

    def admit_head(self, issuer: IssuerID, text: bytes) -> SigningIssuer | None:
        """The key that may sign this head of the log now, by `sign_admitted_head`; None while a costly one rests.

        Raises `Forbidden` for a text that is no head, or not the next one.
        """
        signing = self.find_signing(issuer)
        if signing is None or signing.state != ACTIVE:
            raise Forbidden(_NO_KEY)
        head = gate.check_head(text, signing.issuer, self._authority, self._last_head, self._clock())
        if signing.signer.costly and self._last_head is not None and abs(head.at - self._last_head.at) < _HEAD_PAUSE:
            return None
        # From here on another head of this size is refused, even if the key fails: nobody knows what it has signed.
        self._last_head = head
        return signing

    def sign_admitted_head(self, signing: SigningIssuer, text: bytes) -> bytes:
        """The signature over a head. May be called from another thread for a costly key. Raises `Unavailable`."""
        signature = signing.signer.sign(text, signing.issuer.signature_algorithm)
        if signing.signer.costly and not is_signed(SignedHead(text, signature), signing.issuer.certificate):
            raise Unavailable("the key made a signature that does not verify")
        return signature

    def find_signing(self, issuer: IssuerID) -> SigningIssuer | None:
        """An issuer of the keyring in force. Raises `Unavailable` while another configuration is."""
        if self._suspended:
            raise Unavailable(self._suspended)
        return self._keyring.get(issuer)

    # -- health ---------------------------------------------------------------------------------

    async def health(self) -> StoreHealth:
        """Whether the store takes writes, tried out if nobody has written lately. Raises nothing."""
        if self._suspended:
            return StoreHealth(writable=False, high_water=0, epoch=0, reason=self._suspended)
        now = int(self._clock().timestamp())
        try:
            if self._failure or abs(now - self._written_at) >= _PROBE_SECONDS:
                await self._recover()
                await self.store.touch(now=now)
                self._written_at = now
                self._failure = ""
            return await self.store.health()
        except StoreFailed as failure:
            self._failure = failure.detail
            return StoreHealth(writable=False, high_water=0, epoch=0, reason=failure.detail)

    async def _recover(self) -> None:
        """After a failure the old connection is done with: what its fsync did not write, it would not write again."""
        if self._failure:
            await self.store.reopen()
            self._failure = ""

    async def _settle(self, entries: Sequence[Entry], failure: StoreFailed) -> list[Outcome]:
        if not failure.uncertain:
            return [_unavailable(entry.id, failure.detail) for entry in entries]
        try:
            await self._recover()
            found = [await self.store.find_outcome(entry.id) for entry in entries]
        except StoreFailed as again:
            self._failure = again.detail
            return [Outcome(entry.id, UNKNOWN, reason=again.detail) for entry in entries]
        return [
            outcome or _unavailable(entry.id, failure.detail) for entry, outcome in zip(entries, found, strict=True)
        ]

    def _examine_and_sign(self, entry: Entry, now: datetime) -> SignedCertificate | Outcome:
        verdict = self._admit(entry, now)
        if isinstance(verdict, Outcome):
            return verdict
        try:
            return self.sign(verdict)
        except ProvisorError as error:
            return failed_outcome(entry.id, error)

    def _admit(self, entry: Entry, now: datetime) -> Outcome | Admitted:
        """Step 8's gate for an entry that asks for a signature."""
        sign = entry.sign
        signing = None if sign is None else self._keyring.get(sign.issuer)
        if sign is None or signing is None:
            return Outcome(entry.id, "rejected", reason=_NO_KEY)
        try:
            parsed = gate.check_entry(entry, sign, signing, self._rules, now)
        except ProvisorError as error:
            return Outcome(entry.id, "rejected", reason=error.detail)
        except _PARSER_FAULTS as error:
            return Outcome(entry.id, "rejected", reason=f"cannot be checked: {type(error).__name__}")
        return Admitted(entry, sign, parsed, signing)

    def _generate_id(self) -> EntryID:
        return int(self._clock().timestamp() * 1000).to_bytes(6, "big") + self._random(10)


def failed_outcome(entry: EntryID, error: ProvisorError) -> Outcome:
    """What becomes of an entry whose certificate the key did not sign."""
    if isinstance(error, NotSupported):
        return Outcome(entry, "rejected", reason=error.detail)
    return _unavailable(entry, error.detail)


def _unavailable(entry: EntryID, reason: str) -> Outcome:
    return Outcome(entry, "unavailable", reason=reason)


def _verify_certificate(der: bytes, issuer: bytes) -> None:
    """A key that is elsewhere, or computes long, is not believed. Raises `Unavailable`."""
    try:
        x509.load_der_x509_certificate(der).verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Unavailable(f"the key made a signature that does not verify: {type(error).__name__}") from error


def _verify_crl(der: bytes, signing: SigningIssuer) -> None:
    key = x509.load_der_x509_certificate(signing.issuer.certificate.der).public_key()
    if not x509.load_der_x509_crl(der).is_signature_valid(key):  # type: ignore[arg-type]  # checked when the issuer was made
        raise Unavailable("the key made a signature that does not verify")
