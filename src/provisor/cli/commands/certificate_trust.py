"""`certificate install` and `uninstall`: which roots this machine, Java and Firefox trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec.structs import replace

from provisor.cli import output, truststore
from provisor.cli.certificates import reading
from provisor.cli.certificates.java_store import find_java, forget_copy
from provisor.cli.certificates.nss_store import find_firefox
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, command, switch, text
from provisor.cli.inspection.document import parse_certificate
from provisor.cli.inspection.text import short_text
from provisor.core.x509.certificate import Certificate


class _Store(Protocol):
    def install(self, root: Certificate, name: str) -> None: ...

    def uninstall(self, root: Certificate, name: str) -> None: ...


def _flags(verb: str) -> tuple[Flag, ...]:
    return (
        text("prefix", metavar="name", help="what its name in the store begins with (default: the common name)"),
        switch("java", help=f"{verb} in the file cacerts of Java (JAVA_HOME)"),
        switch("firefox", help=f"{verb} in the profiles of Firefox"),
        switch("no-system", help="leave the system's store alone"),
        switch("all", help="the system's, and those of Java and Firefox if there are any"),
    )


@command("certificate install", usage="<crt-file>", flags=_flags("install"), least=1, most=1, reads_defaults=False)
def install(call: Call) -> None:
    """make this machine trust a root certificate

    The system's store takes root to change. --java and --firefox add theirs.
    """
    root = _root(call.arguments[0])
    for store in _others(call):
        store.install(root, _name(call, root))
    if not call.switch("no-system"):
        truststore.install(root, prefix=call.text("prefix"), stores=truststore.STORES)
    _tell(call, root, "installed")


@command("certificate uninstall", usage="<crt-file>", flags=_flags("uninstall"), least=1, most=1, reads_defaults=False)
def uninstall(call: Call) -> None:
    """make this machine trust a root certificate no more

    With the same --prefix that it was installed with. It is no error if it was not there.
    """
    root = _root(call.arguments[0])
    for store in _others(call):
        store.uninstall(root, _name(call, root))
    if not call.switch("no-system"):
        stores = _forgetting()
        truststore.uninstall(root, prefix=call.text("prefix"), stores=stores)
        forget_copy(truststore.system_store(stores).place_of(root, call.text("prefix")).name)
    _tell(call, root, "removed")


def _root(path: str) -> Certificate:
    """Raises `CommandError` for anything but an authority that signed itself: others would not be looked at."""
    certificate = reading.read_certificate(path)
    if not certificate.is_ca or not parse_certificate(certificate.der).is_self_signed:
        raise CommandError(f"certificate {path} is not a root CA")
    return certificate


def _name(call: Call, root: Certificate) -> str:
    """In the stores that name their entries."""
    return f"{call.text('prefix') or root.common_name + ' '}{root.serial}"


def _others(call: Call) -> Iterator[_Store]:
    """Those of Java and Firefox, as asked for; with `--all` what is not there is only mentioned."""
    finders: tuple[tuple[str, Callable[[], _Store]], ...] = (("java", find_java), ("firefox", find_firefox))
    found = []
    for flag, find in finders:
        if call.switch(flag) or call.switch("all"):
            try:
                found.append(find())
            except CommandError as error:
                if call.switch(flag):
                    raise
                output.note(error.message)
    yield from found


def _forgetting() -> list[truststore.TrustStore]:
    # step-ca: calls the program without the flag, which leaves links to the file that is gone
    return [
        replace(store, update=(*store.update, "--fresh")) if store.update == ("update-ca-certificates",) else store
        for store in truststore.STORES
    ]


def _tell(call: Call, root: Certificate, what: str) -> None:
    output.data(f"Certificate {call.arguments[0]} has been {what}.")
    output.data(short_text(parse_certificate(root.der)), end="")
