"""`--offline`: the CA of a ca.json inside this process, asked as a running one is (cli-admin 6.6).

Its database has one writer at a time: a CA that runs on the same ca.json is in the way, and is asked itself instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from provisor.cli import keys, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.address import CAAddress
from provisor.client.ca import CAClient
from provisor.client.tokens import offline_audience
from provisor.client.transport import MAX_ANSWER_BYTES, Answer
from provisor.core.keys import PasswordNeeded
from provisor.core.secret import Secret
from provisor.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from provisor.app.inline import InlineCA
    from provisor.startup import Startup

_IN_USE = "in use by process "


@final
class OfflineKey:
    """ca.json and the password of its key, asked for once; `open` may be used again and again."""

    def __init__(self, call: Call) -> None:
        """Raises `CommandError`."""
        from provisor.startup import needs_password

        self.path = call.text("ca-config") or call.paths.ca_config
        self._password, flag = keys.password_from(call, "password-file")
        if not self._password and (locked := needs_password(self.path)):
            question = f"Please enter the password to decrypt {locked}"
            self._password = Secret(prompt.ask_password(question, flag=flag))

    @contextmanager
    def open(self) -> Iterator[OfflineCA]:
        """The CA, running until the end of the block. Raises `CommandError`, `ConfigError` when it does not start."""
        import asyncio

        from provisor.app.inline import InlineCA

        startup = self._load()
        with asyncio.Runner() as runner:
            ca = InlineCA(startup)
            try:
                runner.run(ca.__aenter__())
            except ConfigError as error:
                raise _in_use(error, self.path) from error
            try:
                yield OfflineCA(runner, ca, startup.config.dns_names[0] if startup.config.dns_names else "")
            finally:
                runner.run(ca.__aexit__(None, None, None))

    def _load(self) -> Startup:
        from provisor.startup import StartRefused, load_startup
        from provisor.storage.postgresql.dsn import Target

        try:
            startup = load_startup(self.path, self._password or None, datetime.now(UTC))
        except StartRefused as error:
            raise CommandError(error.reason) from error
        except PasswordNeeded as error:
            raise CommandError(error.detail) from error
        if isinstance(startup.store, Target):
            raise CommandError(
                f"{self.path} has a database server, which other CAs may be using: --offline is for a CA that is "
                "the only one on its database. Leave the flag out to ask the running CA"
            )
        return startup


def _in_use(error: ConfigError, path: str) -> CommandError | ConfigError:
    if not error.reason.startswith(_IN_USE):
        return error
    return CommandError(
        f"the CA of {path} is running (its database is {error.reason}): "
        "leave the flag --offline out to ask it, or stop it first"
    )


@contextmanager
def open_offline(call: Call) -> Iterator[OfflineCA | None]:
    """The CA of ca.json with `--offline`, else None. Raises `CommandError`, `ConfigError`."""
    if not call.switch("offline"):
        yield None
        return
    with OfflineKey(call).open() as ca:
        yield ca


@final
class OfflineCA:
    """A CA in this process."""

    def __init__(self, runner: asyncio.Runner, ca: InlineCA, dns_name: str) -> None:
        self._runner = runner
        self._ca = ca
        self._dns_name = dns_name

    @property
    def root_fingerprint(self) -> str:
        """What tokens call `sha`."""
        return self._ca.snapshot.roots[0].fingerprint

    def audience(self, purpose: str) -> str:
        """What `aud` of a token for this CA says."""
        return offline_audience(self._dns_name, purpose)

    def client(self, certificate: bytes | None = None) -> CAClient:
        """A client that shows `certificate` (DER), whose key its user has proven to have."""
        address = CAAddress(self._dns_name, 443, f"https://{self._dns_name}")
        return CAClient(address, None, sender=_InProcess(self._runner, self._ca, certificate))


@final
class _InProcess:
    """Requests that never leave the process."""

    def __init__(self, runner: asyncio.Runner, ca: InlineCA, certificate: bytes | None) -> None:
        self._runner = runner
        self._ca = ca
        self._certificate = certificate

    def close(self) -> None:
        """Nothing is held."""

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        asked = self._ca.ask(method, path, body or b"", headers, certificate=self._certificate)
        return self._runner.run(asked)
