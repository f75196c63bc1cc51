"""The supervisor: starts the processes, owns their sockets, replaces the dead, reloads, drains.

It serves nobody and reads nothing of strangers. The notary starts first, since it opens keys and
store and knows the configuration; what it reports says where the others listen. Sockets stay with
the supervisor, so a replaced process takes over the queue of its predecessor.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, TextIO, final

import msgspec
from msgspec import Struct

from provisor.server.control import (
    Command,
    Commit,
    Discard,
    Drain,
    Draining,
    Event,
    Failed,
    Listen,
    ListenerSpec,
    Overtaken,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Reload,
    Reloaded,
    Role,
    Start,
    Unlisten,
    receive_event,
    send_command,
)
from provisor.server.metrics import Metrics, snapshot_path, write_snapshot
from provisor.server.sockets import AddressInUse, bind_shared, close_all, listen_unix

__all__ = ["SpawnTable", "Supervisor", "SupervisorOptions"]

SpawnTable = Mapping[Role, Sequence[str]]
"""Command line by role; `--control FD` is added to it."""

_EXIT_FAILED: Final = 2
_EXIT_KILLED: Final = 1
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_MAX: Final = 5.0
_STEADY_SECONDS: Final = 10.0
_REFUSAL_LINES: Final = {
    "unreadable": (),
    "invalid": ("Reload failed because the CA with new configuration could not be initialized.",),
    "database": ("Reload failed because the database configuration has changed.",),
}
_REFUSAL_COMMON: Final = (
    "Continuing to run with the original configuration.",
    "You can force a restart by sending a SIGTERM signal and then restarting the step-ca.",
)


def default_spawn() -> SpawnTable:
    """Fresh interpreters on the composition root: nothing of the supervisor's memory is inherited."""
    return {role: (sys.executable, "-m", "provisor.app", role) for role in ("notary", "jobs", "worker")}


class SupervisorOptions(Struct, frozen=True):
    """`options` go to every child as they are, `secrets` to the notary alone.

    `workers` None: as configured, or one a core. `runtime_parent`: where the private directory is made.
    """

    options: Mapping[str, object] = {}
    secrets: Mapping[str, str] = {}
    workers: int | None = None
    pidfile: str = ""
    runtime_parent: str = ""
    start_seconds: float = 60.0
    reload_seconds: float = 30.0
    drain_seconds: float = 60.0

    def __repr__(self) -> str:
        return f"SupervisorOptions(workers={self.workers})"


class _StartError(Exception):
    """The start is impossible; the text is for the operator."""


@final
class _Child:
    """One process slot: who fills it now, and how it has been doing."""

    def __init__(self, role: Role, index: int) -> None:
        self.role = role
        self.index = index
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.begun = False
        self.pidfd = -1
        self.ready: Ready | None = None
        self.ready_since = 0.0
        self.failure: tuple[str, ...] = ()
        self.given: set[ListenerSpec] = set()
        self.answer: Event | None = None
        self.deaths = 0
        self.respawn_at = 0.0

    def __str__(self) -> str:
        return f"worker {self.index}" if self.role == "worker" else self.role

    @property
    def alive(self) -> bool:
        return self.process is not None

    def send(self, command: Command, sockets: Sequence[socket.socket] = ()) -> None:
        """A child that is gone is noticed by its death, not here."""
        if self.control is not None:
            with contextlib.suppress(OSError):
                send_command(self.control, command, sockets)


_IN_MEMORY: Final = ("/dev/shm",)
"""Where files are no disk's business: replacing one on a disk that is busy can hold a process up for milliseconds."""


@final
class Supervisor:
    """Call `run` once, in the main thread of a process of its own."""

    def __init__(
        self, options: SupervisorOptions, spawn: SpawnTable | None = None, *, log: TextIO | None = None
    ) -> None:
        self._options = options
        self._spawn_table = spawn or default_spawn()
        self._log_file = log or sys.stderr
        self._selector = selectors.DefaultSelector()
        self._notary = _Child("notary", 0)
        self._others: list[_Child] = []
        self._bound: dict[ListenerSpec, list[socket.socket]] = {}
        self._notary_socket: socket.socket | None = None
        self._metrics = Metrics()
        self._runtime = ""
        self._epoch = 0
        self._started = False
        self._started_at = time.time()
        self._stopping = False
        self._stop_signals = 0
        self._reload_wanted = False
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    # -- the life -------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status."""
        self._install_signals()
        try:
            self._make_runtime()
            status = self._start()
            return self._serve() if status is None else status
        except _StartError as error:
            self._print(str(error))
            return _EXIT_FAILED
        finally:
            self._stopping = True
            self._kill_all()
            self._clean_up()

    def _install_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._wakeup = (reader, writer)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, self._on_signal)
        self._selector.register(reader, selectors.EVENT_READ, self._drop_wakeup)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stop_signals += 1

    def _drop_wakeup(self) -> None:
        assert self._wakeup is not None
        with contextlib.suppress(BlockingIOError):
            self._wakeup[0].recv(4096)

    def _make_runtime(self) -> None:
        given = self._options.runtime_parent or os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        parent = given or next((folder for folder in _IN_MEMORY if os.access(folder, os.W_OK | os.X_OK)), None)
        try:
            self._runtime = tempfile.mkdtemp(prefix="provisor-", dir=parent)  # mode 0700
            self._notary_socket = listen_unix(os.path.join(self._runtime, "notary.sock"))
        except OSError as error:
            raise _StartError(
                f"error making the runtime directory in {parent or tempfile.gettempdir()}: {error}"
            ) from error

    def _clean_up(self) -> None:
        for sockets in self._bound.values():
            close_all(sockets)
        if self._notary_socket is not None:
            self._notary_socket.close()
        self._selector.close()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            close_all(self._wakeup)
        if self._runtime:
            shutil.rmtree(self._runtime, ignore_errors=True)
        if self._started and self._options.pidfile:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._options.pidfile)

    # -- the start ------------------------------------------------------------------------------

    def _start(self) -> int | None:
        """None when everything serves, otherwise the exit status."""
        guess = self._options.workers or len(os.sched_getaffinity(0))
        self._others = [_Child("jobs", 0), *(_Child("worker", index) for index in range(guess))]
        for child in (self._notary, *self._others):
            self._launch(child)  # their imports take as long as what the notary has to do
        self._begin(self._notary)
        if not self._wait_ready([self._notary]):
            return self._report_failed_start()
        ready = self._notary.ready
        assert ready is not None
        self._epoch = ready.epoch
        self._settle_workers(self._options.workers or ready.workers or guess)
        try:
            for spec in ready.listeners:
                self._bound[spec] = bind_shared(spec.address, self._count(spec.role))
        except AddressInUse as error:
            self._print(str(error))
            return _EXIT_FAILED
        for child in self._others:
            self._begin(child)
        if not self._wait_ready(self._others):
            return self._report_failed_start()
        self._write_pidfile()
        self._started = True
        for role in self._spawn_table:
            self._count_restart(role, by=0)
        self._log(*ready.lines, *_serving(ready.listeners))
        for line in ready.notice:
            self._print(line)
        self._notify("READY=1")
        return None

    def _settle_workers(self, count: int) -> None:
        """As many as the configuration says: those too many learn from a closed socket that they are not needed."""
        surplus = [child for child in self._others if child.role == "worker" and child.index >= count]
        self._others = [child for child in self._others if child not in surplus]
        for child in surplus:
            self._dismiss(child)
        for index in range(self._count("worker"), count):
            child = _Child("worker", index)
            self._others.append(child)
            self._launch(child)

    def _dismiss(self, child: _Child) -> None:
        """One that was not begun yet."""
        assert child.process is not None
        assert child.control is not None
        self._selector.unregister(child.pidfd)
        self._selector.unregister(child.control)
        os.close(child.pidfd)
        child.control.close()
        child.process.wait()
        child.process = child.control = None

    def _count(self, role: Role) -> int:
        return sum(child.role == role for child in self._others)

    def _wait_ready(self, children: Sequence[_Child]) -> bool:
        self._wait(
            lambda: all(child.ready for child in children) or any(not child.alive for child in children),
            self._options.start_seconds,
        )
        return not self._stop_signals and all(child.ready for child in children)

    def _report_failed_start(self) -> int:
        if self._stop_signals:
            self._log("shutting down ...")
            return 0
        for child in (self._notary, *self._others):
            for fault in child.failure:
                self._print(fault)
            if child.failure:
                return _EXIT_FAILED
        for child in (self._notary, *self._others):
            if not child.alive:
                self._print(f"the {child} process ended during the start")
            elif child.begun and not child.ready:
                self._print(f"the {child} process was not ready after {self._options.start_seconds:g} seconds")
        return _EXIT_FAILED

    def _write_pidfile(self) -> None:
        if self._options.pidfile:
            try:
                with open(self._options.pidfile, "w", encoding="ascii") as file:
                    file.write(f"{os.getpid()}\n")
            except OSError as error:
                raise _StartError(
                    f"error writing {self._options.pidfile}: {os.strerror(error.errno or 0).lower()}"
                ) from error

    def _spawn(self, child: _Child) -> None:
        self._launch(child)
        self._begin(child)

    def _launch(self, child: _Child) -> None:
        """A process that imports what its role needs, and waits to be told what to do."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            argv = [*self._spawn_table[child.role], "--control", str(fd)]
            # A session of its own: what is typed at the terminal is for the supervisor.
            child.process = subprocess.Popen(
                argv,
                pass_fds=(fd,),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=_worker_environment() if child.role == "worker" else None,
            )
        ours.setblocking(False)
        child.control = ours
        child.ready = child.answer = None
        child.begun = False
        child.failure = ()
        child.pidfd = os.pidfd_open(child.process.pid)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._bury(child))

    def _begin(self, child: _Child) -> None:
        """Tell it, and hand it its sockets."""
        child.given = {spec for spec in self._bound if spec.role == child.role}
        specs = tuple(spec for spec in self._bound if spec.role == child.role)
        is_notary = child.role == "notary"
        start = Start(
            role=child.role,
            index=child.index,
            parent=os.getpid(),
            runtime=self._runtime,
            notary=os.path.join(self._runtime, "notary.sock"),
            started=self._started_at,
            epoch=self._epoch,
            listeners=specs,
            options=self._options.options,
            secrets=self._options.secrets if is_notary else {},
        )
        sockets = [self._bound[spec][child.index] for spec in specs]
        if is_notary and self._notary_socket is not None:
            sockets = [self._notary_socket]
        child.begun = True
        child.send(start, sockets)

    # -- the loop -------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Tend everything until this holds, the time is over or a signal asks for the end."""
        deadline = time.monotonic() + seconds
        stops = self._stop_signals
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or self._stop_signals != stops:
                return condition()
            self._tend(left)
        return True

    def _tend(self, seconds: float | None) -> None:
        """Wait for what happens, at most so long, and see to it."""
        for child in self._dead():
            wait = max(0.0, child.respawn_at - time.monotonic())
            seconds = wait if seconds is None else min(seconds, wait)
        for key, _ in self._selector.select(seconds):
            if key.fd in self._selector.get_map():
                key.data()
        for child in self._dead():
            if child.respawn_at <= time.monotonic():
                self._spawn(child)

    def _dead(self) -> list[_Child]:
        """Children to be replaced."""
        if not self._started or self._stopping:
            return []
        return [child for child in (self._notary, *self._others) if not child.alive]

    def _hear(self, child: _Child) -> None:
        assert child.control is not None
        try:
            event = receive_event(child.control)
        except BlockingIOError:
            return
        except msgspec.MsgspecError:
            self._log(f"the {child} process sent what is no message")
            self._kill(child)
            return
        if event is None:
            self._selector.unregister(child.control)
            child.control.close()
            child.control = None
        elif isinstance(event, Ready):
            self._became_ready(child, event)
        elif isinstance(event, Failed):
            child.failure = event.faults
        elif isinstance(event, Overtaken):
            self._follow(event)
        elif not isinstance(event, Draining):
            child.answer = event

    def _became_ready(self, child: _Child, event: Ready) -> None:
        child.ready = event
        child.ready_since = time.monotonic()
        if not self._started:
            return
        self._log(f"the {child} process is back")
        if child is not self._notary:
            # The configuration may have changed while it was starting.
            self._bring_up_to_date(child, told=event.epoch)
        elif event.epoch != self._epoch:
            self._epoch = event.epoch
            for other in self._others:
                if other.ready is not None:
                    other.send(Reload(event.epoch))

    def _follow(self, event: Overtaken) -> None:
        """Another replica has changed what is in force."""
        self._log(*event.lines)
        self._reload_wanted |= event.reload
        if event.epoch == self._epoch or not self._started:
            return
        self._epoch = event.epoch
        for other in self._others:
            if other.ready is not None:
                other.send(Reload(event.epoch))

    def _bury(self, child: _Child) -> None:
        """The process has ended: release what was its, and plan its successor."""
        assert child.process is not None
        while child.control is not None:
            before = child.control
            self._hear(child)  # its last words
            if child.control is before and not _readable(before):
                break
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        if child.control is not None:
            self._selector.unregister(child.control)
            child.control.close()
            child.control = None
        status = child.process.wait()
        child.process = None
        steady = child.ready is not None and time.monotonic() - child.ready_since > _STEADY_SECONDS
        child.ready = None
        if not self._started or self._stopping:
            return
        self._count_restart(child.role)
        child.deaths = 0 if steady else child.deaths + 1
        delay = min(_BACKOFF_MAX, _BACKOFF_FIRST * 2 ** max(0, child.deaths - 1))
        child.respawn_at = time.monotonic() + delay
        self._log(f"the {child} process ended ({_status(status)}), starting another", *child.failure)

    # -- serving --------------------------------------------------------------------------------

    def _serve(self) -> int:
        while not self._stop_signals:
            if self._reload_wanted:
                self._reload_wanted = False
                self._reload()
                continue
            self._tend(None)
        return self._stop()

    def _stop(self) -> int:
        self._log("shutting down ...")
        self._notify("STOPPING=1")
        self._stopping = True
        for sockets in self._bound.values():
            # The children close theirs: who connects now is refused, and waits in no queue that nobody empties.
            close_all(sockets)
        workers = [child for child in self._others if child.role == "worker"]
        jobs = [child for child in self._others if child.role != "worker"]
        for group in (workers, jobs, [self._notary]):
            for child in group:
                child.send(Drain())
            if not self._wait(lambda group=group: not any(c.alive for c in group), self._options.drain_seconds + 1):  # type: ignore[misc]
                if self._stop_signals > 1:
                    return _EXIT_KILLED
                for child in group:
                    self._kill(child)
        return 0

    def _kill(self, child: _Child) -> None:
        if child.process is not None:
            child.process.kill()

    def _kill_all(self) -> None:
        children = (self._notary, *self._others)
        for child in children:
            self._kill(child)
        for child in children:
            if child.process is not None:
                child.process.wait()

    # -- the reload -----------------------------------------------------------------------------

    def _reload(self) -> None:
        """All of the new configuration, or nothing of it."""
        self._log("reloading ...")
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        refusal = self._try_reload()
        if refusal is not None:
            self._log_refusal(refusal)
        self._notify("READY=1")

    def _ask(self, child: _Child, command: Command) -> Event | None:
        """The answer of this child; None if it died or took too long."""
        process = child.process
        child.answer = None
        child.send(command)
        self._wait(lambda: child.answer is not None or child.process is not process, self._options.reload_seconds)
        return child.answer

    def _try_reload(self) -> Refused | None:
        prepared = self._ask(self._notary, Prepare())
        if isinstance(prepared, Refused):
            return prepared
        if not isinstance(prepared, Prepared):
            return Refused("invalid", ("the notary process did not answer",))
        wanted = set(prepared.listeners)
        added: dict[ListenerSpec, list[socket.socket]] = {}
        try:
            for spec in prepared.listeners:
                if spec not in self._bound:
                    added[spec] = bind_shared(spec.address, self._count(spec.role))
        except AddressInUse as error:
            for sockets in added.values():
                close_all(sockets)
            self._notary.send(Discard())
            return Refused("invalid", (str(error),))
        committed = self._ask(self._notary, Commit())
        if not isinstance(committed, Reloaded):
            for sockets in added.values():
                close_all(sockets)
            return Refused("invalid", ("the notary process did not answer",))
        self._epoch = committed.epoch
        self._bound.update(added)
        self._spread()
        self._retire([spec for spec in self._bound if spec not in wanted])
        self._log(*prepared.lines, *_serving(prepared.listeners))
        return None

    def _spread(self) -> None:
        """Bring all other processes to the epoch in force; one that cannot follow is replaced."""
        asked = [(child, child.process) for child in self._others if child.ready is not None]
        for child, _ in asked:
            child.answer = None
            self._bring_up_to_date(child, told=None)
        self._wait(
            lambda: all(child.answer is not None or child.process is not process for child, process in asked),
            self._options.reload_seconds,
        )
        for child, process in asked:
            if child.process is process and not isinstance(child.answer, Reloaded):
                faults = child.answer.faults if isinstance(child.answer, Refused) else ()
                self._log(f"the {child} process did not reload, starting another", *faults)
                self._kill(child)

    def _bring_up_to_date(self, child: _Child, *, told: int | None) -> None:
        """Hand over sockets it lacks, take back those that are retired, name the epoch unless it was told."""
        due = {spec for spec in self._bound if spec.role == child.role}
        for spec in due - child.given:
            child.send(Listen(spec), [self._bound[spec][child.index]])
        if told != self._epoch:
            child.send(Reload(self._epoch))
        for spec in child.given - due:
            child.send(Unlisten(spec))
        child.given = due

    def _retire(self, specs: Iterable[ListenerSpec]) -> None:
        gone = [self._bound.pop(spec) for spec in specs]
        for child in self._others:
            if child.ready is not None:
                self._bring_up_to_date(child, told=self._epoch)
        for sockets in gone:
            close_all(sockets)

    def _log_refusal(self, refusal: Refused) -> None:
        if refusal.reason == "unreadable":
            # step-ca: nothing but the error when the file is not JSON
            self._log(*(f"error reloading server: error reloading ca configuration: {each}" for each in refusal.faults))
            return
        first = _REFUSAL_LINES.get(refusal.reason, _REFUSAL_LINES["invalid"])
        faults = (f"error reloading server: error reloading ca: {each}" for each in refusal.faults)
        self._log(*first, *_REFUSAL_COMMON, *faults)

    # -- telling the world ----------------------------------------------------------------------

    def _count_restart(self, role: Role, by: int = 1) -> None:
        self._metrics.restarts.inc(role, by=by)
        write_snapshot(self._metrics, snapshot_path(Path(self._runtime), "supervisor"))

    def _log(self, *lines: str) -> None:
        moment = time.strftime("%Y/%m/%d %H:%M:%S ")
        self._print(*(moment + line for line in lines))

    def _print(self, *lines: str) -> None:
        with contextlib.suppress(OSError):
            self._log_file.write("".join(line + "\n" for line in lines))
            self._log_file.flush()

    def _notify(self, message: str) -> None:
        """The systemd protocol (sd_notify); without effect elsewhere."""
        name = os.environ.get("NOTIFY_SOCKET", "")
        if not name:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(message.encode(), "\0" + name[1:] if name.startswith("@") else name)


def _worker_environment() -> dict[str, str]:
    """Who meets strangers needs no password of a database."""
    return {name: value for name, value in os.environ.items() if name not in ("PGPASSWORD", "PGPASSFILE", "PGSSLKEY")}


def _serving(listeners: Iterable[ListenerSpec]) -> list[str]:
    return [f"Serving {spec.scheme} on {spec.address} ..." for spec in listeners]


def _status(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
