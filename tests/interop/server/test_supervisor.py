"""The supervisor over real processes, sockets and signals, with children that only echo."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisor.server.sockets import bind_shared, close_all

MAIN = Path(__file__).parents[2] / "support" / "fake_main.py"
PATIENCE = 15.0


def free_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


_RUNTIMES: list[Path] = []


@pytest.fixture(autouse=True)
def _no_runtime_stays() -> Iterator[None]:
    yield
    while _RUNTIMES:
        shutil.rmtree(_RUNTIMES.pop(), ignore_errors=True)


class Running:
    """A supervisor process and its configuration file."""

    def __init__(self, directory: Path, config: dict[str, Any], *arguments: str) -> None:
        self.directory = directory
        self.path = directory / "ca.json"
        self.log_path = directory / "log"
        self.write(config)
        # A socket's path may have about a hundred letters, fewer than the path of a test's own directory.
        self.runtime = Path(tempfile.mkdtemp(prefix="prv-"))
        _RUNTIMES.append(self.runtime)
        env = {**os.environ, "RUNTIME_DIRECTORY": str(self.runtime)}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(MAIN), str(self.path), *arguments], stderr=log, env=env
            )

    def write(self, config: dict[str, Any]) -> None:
        self.config = config
        self.path.write_text(json.dumps(config))

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def await_log(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.log.count(text) >= times or self.process.poll() is not None)
        assert self.log.count(text) >= times, self.log

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def get(self, path: str = "/", address: str = "") -> dict[str, Any]:
        host, _, port = (address or self.config["listeners"]["https"]).rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def children(self) -> dict[str, list[int]]:
        """Process ids by role."""
        found: dict[str, list[int]] = {}
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in map(int, listing.split()):
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if len(argv) > 3:
                found.setdefault(argv[2].decode(), []).append(pid)
        return found


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) != 0


def config(**more: Any) -> dict[str, Any]:
    return {"greeting": "hello", "listeners": {"https": free_address()}, "workers": 2, **more}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    each = Running(tmp_path, config(), str(tmp_path / "pid"))
    each.await_log("Serving HTTPS on")
    yield each
    each.process.kill()
    each.process.wait()


def test_it_starts_serves_and_ends(running: Running) -> None:
    assert running.get()["greeting"] == "hello"
    address = running.config["listeners"]["https"]
    stamp = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
    assert re.fullmatch(
        f"{stamp}Starting Fake CA\n{stamp}secrets: \\['password'\\]\n{stamp}Serving HTTPS on {address} ...\n",
        running.log,
    )
    pidfile = running.directory / "pid"
    assert pidfile.read_text() == f"{running.process.pid}\n"
    assert pidfile.stat().st_mode & 0o777 == 0o644
    (runtime,) = running.runtime.iterdir()
    assert runtime.stat().st_mode & 0o777 == 0o700
    assert running.end() == 0
    assert running.log.endswith("shutting down ...\n")
    assert not pidfile.exists()
    assert not list(running.runtime.iterdir())


def test_the_processes_are_a_notary_jobs_and_workers(running: Running) -> None:
    children = running.children()
    assert {role: len(pids) for role, pids in children.items()} == {"notary": 1, "jobs": 1, "worker": 2}


def test_secrets_are_in_no_environment_and_no_arguments(running: Running) -> None:
    for pids in running.children().values():
        for pid in pids:
            for name in ("environ", "cmdline"):
                assert b"hunter2" not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_all_workers_share_the_address(running: Running) -> None:
    seen = {running.get()["pid"] for _ in range(60)}
    assert seen == set(running.children()["worker"])


def test_a_dead_worker_is_replaced_and_its_queue_is_served(running: Running) -> None:
    workers = set(running.children()["worker"])
    for victim in workers:
        os.kill(victim, signal.SIGKILL)
    # Both are gone; whoever connects now waits in the queue of a socket that the supervisor kept.
    assert running.get()["pid"] not in workers
    running.await_log("process is back", 2)
    assert len(running.children()["worker"]) == 2
    assert "(SIGKILL), starting another" in running.log


@pytest.mark.parametrize("role", ["notary", "jobs"])
def test_another_dead_process_is_replaced_while_the_workers_serve(running: Running, role: str) -> None:
    workers = running.children()["worker"]
    (victim,) = running.children()[role]
    os.kill(victim, signal.SIGKILL)
    assert running.get()["pid"] in workers
    running.await_log(f"the {role} process is back")
    assert running.children()["worker"] == workers


def test_a_replaced_notary_keeps_the_configuration_in_force(running: Running) -> None:
    running.path.write_text("edited, and not yet right")
    os.kill(running.children()["notary"][0], signal.SIGKILL)
    running.await_log("the notary process is back")
    wait_for(lambda: running.get()["epoch"] == 2)
    assert running.get()["greeting"] == "hello"


def test_everything_ends_when_the_supervisor_is_killed(running: Running) -> None:
    pids = [pid for each in running.children().values() for pid in each]
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_work_is_finished_before_the_end(running: Running, number: signal.Signals) -> None:
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(running.get("/slow"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.15)
    running.signal(number)
    assert running.process.wait(PATIENCE) == 0
    for thread in threads:
        thread.join()
    assert len(answers) == 4


def test_a_second_interrupt_ends_at_once(running: Running) -> None:
    def get() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            running.get("/slow")

    thread = threading.Thread(target=get)
    thread.start()
    time.sleep(0.1)
    running.signal(signal.SIGINT)
    running.await_log("shutting down ...")
    running.signal(signal.SIGINT)
    assert running.process.wait(PATIENCE) == 1
    thread.join()


def test_children_ignore_the_signals_of_their_group(running: Running) -> None:
    for pids in running.children().values():
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGHUP)
    assert running.get()["greeting"] == "hello"
    assert "starting another" not in running.log


# -- starts that fail ---------------------------------------------------------------------------


def fail(tmp_path: Path, settings: dict[str, Any]) -> str:
    each = Running(tmp_path, settings)
    assert each.process.wait(PATIENCE) == 2
    assert not list(each.runtime.iterdir())
    return each.log


def test_a_fault_of_the_configuration_is_told_as_it_is(tmp_path: Path) -> None:
    assert fail(tmp_path, config(fail="address cannot be empty")) == "address cannot be empty\n"


def test_a_process_that_dies_during_the_start_ends_it(tmp_path: Path) -> None:
    assert fail(tmp_path, config(crash=True)) == "the notary process ended during the start\n"


def test_a_second_start_on_the_same_address_is_refused(running: Running, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    address = running.config["listeners"]["https"]
    assert fail(second, running.config) == f"listen tcp {address}: bind: address already in use\n"
    assert running.get()["greeting"] == "hello"


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    text = fail(tmp_path, config(listeners={"https": "127.0.0.1"}))
    assert text == "listen tcp 127.0.0.1: bind: invalid address 127.0.0.1\n"


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    each = Running(tmp_path, config(hang=True))
    wait_for(lambda: each.children().get("notary"))
    assert each.end() == 0
    assert each.log.endswith("shutting down ...\n")


def test_an_address_is_bound_once_and_shared_by_its_sockets_only() -> None:
    sockets = bind_shared("127.0.0.1:0", 3)
    port = sockets[0].getsockname()[1]
    assert {sock.getsockname()[1] for sock in sockets} == {port}
    with pytest.raises(OSError, match="bind: address already in use"):
        bind_shared(f"127.0.0.1:{port}", 2)
    taken = [0, 0, 0]
    for sock in sockets:
        sock.setblocking(False)
    for _ in range(90):
        with socket.create_connection(("127.0.0.1", port)):
            for index, sock in enumerate(sockets):
                try:
                    sock.accept()[0].close()
                    taken[index] += 1
                except BlockingIOError:
                    continue
    assert sum(taken) == 90
    assert min(taken) > 10
    close_all(sockets)


# -- reloads ------------------------------------------------------------------------------------


def test_a_reload_brings_the_new_configuration_to_all_workers(running: Running) -> None:
    before = running.children()
    running.write(config(greeting="bonjour") | {"listeners": running.config["listeners"]})
    running.signal(signal.SIGHUP)
    running.await_log("Serving HTTPS on", 2)
    answers = [running.get() for _ in range(30)]
    assert {each["greeting"] for each in answers} == {"bonjour"}
    assert {each["epoch"] for each in answers} == {2}
    assert running.children() == before
    tail = [line[20:] for line in running.log.splitlines()[-3:]]
    assert tail == ["reloading ...", "Building anew", f"Serving HTTPS on {running.config['listeners']['https']} ..."]


def test_a_refused_reload_keeps_serving_and_says_why(running: Running) -> None:
    running.write(running.config | {"greeting": "no", "refuse": "address cannot be empty"})
    running.signal(signal.SIGHUP)
    running.await_log("address cannot be empty")
    assert running.get()["greeting"] == "hello"
    assert [line[20:] for line in running.log.splitlines()[-5:]] == [
        "reloading ...",
        "Reload failed because the CA with new configuration could not be initialized.",
        "Continuing to run with the original configuration.",
        "You can force a restart by sending a SIGTERM signal and then restarting the step-ca.",
        "error reloading server: error reloading ca: address cannot be empty",
    ]


def test_a_file_that_is_not_json_is_refused_with_one_line(running: Running) -> None:
    running.path.write_text("{")
    running.signal(signal.SIGHUP)
    running.await_log("error reloading server: error reloading ca configuration: error parsing ca.json: ")
    assert running.get()["greeting"] == "hello"
    assert "Continuing" not in running.log


def test_the_listener_moves_with_its_address(running: Running) -> None:
    old = running.config["listeners"]["https"]
    running.write(running.config | {"listeners": {"https": free_address(), "http": free_address()}})
    running.signal(signal.SIGHUP)
    running.await_log("Serving HTTPS on", 3)
    assert running.get()["epoch"] == 2
    assert running.get(address=running.config["listeners"]["http"])["epoch"] == 2
    wait_for(lambda: refuses(old))
    # A replaced worker gets the new sockets.
    for victim in running.children()["worker"]:
        os.kill(victim, signal.SIGKILL)
    assert running.get()["epoch"] == 2


def test_an_address_that_is_taken_refuses_the_reload(running: Running) -> None:
    old = running.config["listeners"]["https"]
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = f"127.0.0.1:{squatter.getsockname()[1]}"
        running.write(running.config | {"greeting": "no", "listeners": {"https": taken}})
        running.signal(signal.SIGHUP)
        running.await_log(f"error reloading ca: listen tcp {taken}: bind: address already in use")
    answer = running.get(address=old)
    assert (answer["greeting"], answer["epoch"]) == ("hello", 1)


def test_no_request_fails_over_ten_reloads_under_load(running: Running) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    epochs: set[int] = set()
    host, _, port = running.config["listeners"]["https"].rpartition(":")

    def load(*, kept: bool) -> None:
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            while not stop.is_set():
                connection.request("GET", "/")
                epochs.add(json.loads(connection.getresponse().read())["epoch"])
                if not kept:
                    connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=load, kwargs={"kept": kept}) for kept in (True, False, False)]
    for thread in threads:
        thread.start()
    wait_for(lambda: 1 in epochs)
    for number in range(2, 12):
        running.signal(signal.SIGHUP)
        running.await_log("Serving HTTPS on", number)
    wait_for(lambda: 11 in epochs)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {1, 11} <= epochs


def test_systemd_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        each = Running(tmp_path, config())
        assert manager.recv(1024) == b"READY=1"
        each.signal(signal.SIGHUP)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", manager.recv(1024))
        assert manager.recv(1024) == b"READY=1"
        assert each.end() == 0
        assert manager.recv(1024) == b"STOPPING=1"


def test_a_hardened_process_leaves_no_core_and_shows_no_memory() -> None:
    code = (
        "import ctypes, resource; from provisor.server.control import harden_process; harden_process();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "0 (0, 0)\n"
