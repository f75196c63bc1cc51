"""What `ca check` does: everything a start would do short of serving, and every fault in one report.

The checks go on after a fault as far as there is something to check. Last of all the configuration is loaded as a
start loads it, so that nothing passes here that would be refused there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from provisor.authority.templates import load_text
from provisor.config.ca_json import CAConfig
from provisor.config.load import Fault, LoadedConfig, load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.durations import format_go_time
from provisor.core.keys import PasswordNeeded, describe_key, spki_der
from provisor.core.names import classify_sans
from provisor.core.secret import Secret
from provisor.core.template.errors import ParseError
from provisor.core.template.evaluator import Template
from provisor.core.template.function import Function
from provisor.core.template.library import CONFIGURATION_FUNCTIONS, SSH_FUNCTIONS, X509_FUNCTIONS
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.core.x509.general_names import encode_general_names
from provisor.core.x509.issuer import make_issuer
from provisor.errors import ConfigError, ProvisorError, TemplateBroken
from provisor.kms.base import Signer
from provisor.provisioners.options import TemplateSource, read_options
from provisor.provisioners.registry import build_registry
from provisor.startup import StartRefused, load_certificates, load_startup, open_key, read_file
from provisor.storage.locate import WriterLock, check_ours, locate_store
from provisor.storage.postgresql.dsn import Target

T = TypeVar("T")

ENDS_SOON = timedelta(days=30)
"""A certificate of the CA with less time left than this is worth a warning."""


class Check(Struct, frozen=True):
    """One thing looked at. `detail` says what was found, `faults` what is wrong with it."""

    name: str
    detail: str = ""
    faults: tuple[Fault, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.faults


class Report(Struct, frozen=True):
    """`password_for` names the key file that could not be opened for want of a password, if there is one."""

    path: str
    checks: tuple[Check, ...]
    warnings: tuple[Fault, ...]
    password_for: str = ""

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(fault for check in self.checks for fault in check.faults)


def check_configuration(path: str, *, password: Secret | None, now: datetime, strict: bool = False) -> Report:
    """Look at the ca.json at `path` and at everything it names. Raises nothing that a configuration can cause."""
    return _Checking(path, password, now, strict=strict).run()


class _Checking:
    """One run; the checks in order, each with what the earlier ones found."""

    def __init__(self, path: str, password: Secret | None, now: datetime, *, strict: bool) -> None:
        self._path = path
        self._password = password
        self._now = now
        self._strict = strict
        self._checks: list[Check] = []
        self._warnings: list[Fault] = []
        self._password_for = ""

    def run(self) -> Report:
        loaded = self._configuration()
        if loaded is not None:
            config = loaded.config
            roots = self._look("root certificates", "$.root", lambda: self._certificates(config.root))
            chain = self._look("issuer certificate", "$.crt", lambda: self._issuer_chain(config))
            signer = self._look("issuer key", "$.key", lambda: self._open_key(config))
            if chain and signer:
                self._look("key and certificate", "$.key", lambda: self._match(signer, chain[0]))
            if chain and roots:
                self._look("chain", "$.crt", lambda: self._lead(chain, roots))
            self._look("names", "$.dnsNames", lambda: self._names(config, chain or (), roots or ()))
            self._look("store", "$.db", lambda: self._store(config))
            if not self._is_spoilt("$.authority.claims"):
                self._look("provisioners", "$.authority.provisioners", lambda: self._provisioners(config))
                self._templates(config)
            self._start()
            self._warn_of_step(loaded)
        return Report(self._path, tuple(self._checks), tuple(self._warnings), self._password_for)

    def _look(self, name: str, pointer: str, look: Callable[[], tuple[T, str]]) -> T | None:
        """What `look` found, together with a check of that name; None after a fault, or one in the file itself."""
        if self._is_spoilt(pointer):
            return None
        try:
            found, detail = look()
        except PasswordNeeded as error:
            text = f"{error.detail}; give it with --password-file"
            self._checks.append(Check(name, faults=(Fault(pointer, text),)))
        except ProvisorError as error:
            self._checks.append(Check(name, faults=(_fault_of(error, pointer),)))
        else:
            self._checks.append(Check(name, detail))
            return found
        return None

    def _is_spoilt(self, pointer: str) -> bool:
        """The value there is wrong already as a value."""
        return any(fault.pointer.startswith(pointer) for fault in self._checks[0].faults)

    # -- the file ---------------------------------------------------------------------------------

    def _configuration(self) -> LoadedConfig | None:
        try:
            content = read_file(self._path)
        except ConfigError as error:
            self._checks.append(Check("configuration", faults=(Fault("", error.reason),)))
            return None
        loaded = load_config(content, where=self._path, strict=self._strict)
        self._checks.append(Check("configuration", self._path, loaded.faults))
        self._warnings += loaded.warnings
        return loaded if loaded.document else None

    # -- certificates and keys ----------------------------------------------------------------------

    def _certificates(self, paths: Sequence[str]) -> tuple[tuple[Certificate, ...], str]:
        found = tuple(map(parse_certificate, load_certificates(paths)))
        if not found:
            raise ConfigError("", "there is none")
        for certificate in found:
            self._check_date(certificate)
        return found, ", ".join(certificate.common_name for certificate in found)

    def _issuer_chain(self, config: CAConfig) -> tuple[tuple[Certificate, ...], str]:
        chain, _ = self._certificates((config.crt,))
        issuer = chain[0]
        if not issuer.is_ca:
            raise ConfigError("", f'certificate "{issuer.common_name}" is not that of a certificate authority')
        make_issuer([certificate.der for certificate in chain])
        if issuer.not_after - self._now < ENDS_SOON:
            text = f'certificate "{issuer.common_name}" ends on {format_go_time(issuer.not_after)}'
            self._warnings.append(Fault("$.crt", text, fatal=False))
        return chain, f"{issuer.common_name}, until {format_go_time(issuer.not_after)}"

    def _check_date(self, certificate: Certificate) -> None:
        name = f'certificate "{certificate.common_name}"'
        if self._now > certificate.not_after:
            raise ConfigError("", f"{name} expired on {format_go_time(certificate.not_after)}")
        if self._now < certificate.not_before:
            raise ConfigError("", f"{name} is not valid before {format_go_time(certificate.not_before)}")

    def _open_key(self, config: CAConfig) -> tuple[Signer, str]:
        try:
            signer = open_key(config, self._password)
        except PasswordNeeded:
            self._password_for = config.key
            raise
        return signer, f"{describe_key(signer.public_key).label}, {config.key}"

    def _match(self, signer: Signer, issuer: Certificate) -> tuple[None, str]:
        if spki_der(signer.public_key) != issuer.spki:
            raise ConfigError("", "x509: provided PrivateKey doesn't match parent's PublicKey")
        return None, "belong together"

    def _lead(self, chain: Sequence[Certificate], roots: Sequence[Certificate]) -> tuple[None, str]:
        for below, above in pairwise(chain):
            if not is_issued_by(below, above):
                raise ConfigError("", f'"{below.common_name}" is not issued by "{above.common_name}", which follows it')
        last = chain[-1]
        trusted = next((root for root in roots if root.der == last.der or is_issued_by(last, root)), None)
        if trusted is None:
            text = (
                f'certificate "{last.common_name}" does not lead to any certificate of root: no client will accept it'
            )
            raise ConfigError("", text)
        return None, f"leads to {trusted.common_name} ({trusted.fingerprint})"

    # -- the rest -----------------------------------------------------------------------------------

    def _names(self, config: CAConfig, chain: Sequence[Certificate], roots: Sequence[Certificate]) -> tuple[None, str]:
        names = classify_sans(config.dns_names)
        encode_general_names(names)
        if chain:
            issuer = make_issuer([one.der for one in chain], [one.der for one in roots])
            issuer.constraints.check_names(names)
        return None, ", ".join(config.dns_names)

    def _store(self, config: CAConfig) -> tuple[None, str]:
        if config.db is None:
            return None, "none: tokens and revocations are forgotten at the end of the process"
        place = locate_store(config.db, config.provisor.database)
        if isinstance(place, Target):
            return None, place.shown
        if place.exists():
            self._warnings.append(
                Fault(
                    "$.db",
                    f"step-ca does not read {place}: served by it, this folder renews what is revoked here",
                    False,
                )
            )
            return None, f"{place}{_state(place)}"
        if not _is_writable(place.parent):
            raise ConfigError("", f"{place} cannot be made: no permission to write there")
        return None, f"{place}, made at the first start"

    def _provisioners(self, config: CAConfig) -> tuple[None, str]:
        registry = build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims))
        for fault in registry.faults:
            text = f'failed to initialize {fault.kind} provisioner "{fault.name}": {fault.reason}'
            self._warnings.append(Fault(fault.where, text, fatal=False))
        names = ", ".join(entry.name for entry in config.authority.provisioners)
        return None, names or "there is none"

    def _templates(self, config: CAConfig) -> None:
        """A start lets them pass, and every certificate that needs one is refused then."""
        faults: list[Fault] = []
        count = 0
        for index, entry in enumerate(config.authority.provisioners):
            try:
                options = read_options(entry.raw)
            except ConfigError:
                continue  # the provisioner is disabled, which was said
            where = f"$.authority.provisioners[{index}].options"
            for name, source, functions in (
                ("x509", options.x509, X509_FUNCTIONS),
                ("ssh", options.ssh, SSH_FUNCTIONS),
            ):
                if source is not None:
                    count += 1
                    faults += _template_faults(source, functions, f"{where}.{name}")
            for number, hook in enumerate(options.webhooks):
                faults += _parse_faults(hook.url, CONFIGURATION_FUNCTIONS, f"{where}.webhooks[{number}].url")
        if count or faults:
            self._checks.append(Check("templates", f"{count} can be parsed", tuple(faults)))

    # -- everything once more -----------------------------------------------------------------------

    def _start(self) -> None:
        """As a start loads it; only what was not said before."""
        said = {fault.pointer for check in self._checks for fault in check.faults}
        try:
            startup = load_startup(self._path, self._password, self._now, strict=self._strict)
        except PasswordNeeded:
            return
        except StartRefused as error:
            faults = tuple(fault for fault in error.faults if not _is_said(fault.pointer, said))
            if faults:
                self._checks.append(Check("start", faults=faults))
            return
        known_warnings = {warning.text for warning in self._warnings}
        self._warnings += [warning for warning in startup.warnings if warning.text not in known_warnings]

    def _warn_of_step(self, loaded: LoadedConfig) -> None:
        pointers = _own_members(loaded.document)
        if pointers:
            text = "lost when `step ca provisioner` edits this file, as is every member that step does not know"
            self._warnings += [Fault(pointer, text, fatal=False) for pointer in pointers]


def _template_faults(source: TemplateSource, functions: Mapping[str, Function], pointer: str) -> list[Fault]:
    try:
        return _parse_faults(load_text(source), functions, pointer)
    except TemplateBroken as error:
        return [Fault(pointer, error.detail.removeprefix("authority.Sign: "))]


def _parse_faults(text: str, functions: Mapping[str, Function], pointer: str) -> list[Fault]:
    try:
        Template(text, functions)
    except ParseError as error:
        return [Fault(pointer, str(error))]
    return []


def _is_said(pointer: str, said: Iterable[str]) -> bool:
    """A fault of the same member, or of one above or below it, was reported."""
    return any(pointer.startswith(other) or other.startswith(pointer) for other in said)


def _fault_of(error: ProvisorError, pointer: str) -> Fault:
    """With the pointer of the error itself if it has one."""
    if not isinstance(error, ConfigError):
        return Fault(pointer, error.public or error.detail)
    where = error.where.removeprefix("ca.json: ")
    return Fault(where if where.startswith("$") else pointer, error.reason)


def _state(database: Path) -> str:
    """Of a database that is there. Raises `ConfigError` if it is not ours."""
    try:
        lock = WriterLock(database)
    except ConfigError as error:
        return f", {error.reason}"
    except OSError as error:
        raise ConfigError("", f"{database} cannot be opened: {error.strerror}") from error
    try:
        check_ours(database)
    finally:
        lock.release()
    return ""


def _is_writable(folder: Path) -> bool:
    """The folder, or the nearest one above it that is there."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


def _own_members(value: object, pointer: str = "$") -> list[str]:
    """Where the document has an object `provisor`, whose members only we know."""
    found: list[str] = []
    if isinstance(value, dict):
        for name, member in value.items():
            if name.lower() == "provisor":
                found.append(f"{pointer}.{name}")
            else:
                found += _own_members(member, f"{pointer}.{name}")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            found += _own_members(element, f"{pointer}[{index}]")
    return found
