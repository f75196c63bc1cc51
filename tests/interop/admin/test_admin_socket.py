"""A running CA asked by its administrator: certificates that the real `step` got are found, shown and revoked."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from provisor.client.admin import AdminClient
from support.server import RunningProvisor, wait_for
from support.step_lab import Workplace, configure

pytestmark = pytest.mark.peer

HOSTS = ("a.example.com", "b.example.com", "xexample.com", "=1+1.example.org")


class World:
    """A CA whose socket has a short path, and a workplace of its administrator."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.socket = runtime / "admin.sock"
        settings = {
            "provisor": {"workers": 1, "adminSocket": str(self.socket)},
            "crl": {"enabled": True, "generateOnRevoke": True},
        }
        self.ca = RunningProvisor(folder, settings=settings)
        self.place = Workplace(folder / "work", folder / "step")
        configure(self.place.step_path, self.ca.url, self.ca.pki.fingerprint, self.ca.pki.root_file)
        self.flags = f"--ca-config {self.ca.config_file}"

    def get(self, name: str, file: str) -> int:
        """A certificate by the real `step`; its serial."""
        self.place.do(f"step ca certificate '{name}' {file}.crt {file}.key --token {self.ca.token(name)}")
        return self.serial(file)

    def renew(self, file: str) -> int:
        self.place.do(f"step ca renew --force {file}.crt {file}.key")
        return self.serial(file)

    def serial(self, file: str) -> int:
        return x509.load_pem_x509_certificates((self.place.cwd / f"{file}.crt").read_bytes())[0].serial_number

    def list(self, conditions: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.place.do(f"provisor ca certificates list --json {conditions} {self.flags}")
        )
        return found

    def serials(self, conditions: str = "") -> set[int]:
        return {int(item["serial"]) for item in self.list(conditions)}

    def await_index(self) -> None:
        admin = AdminClient(str(self.socket))
        wait_for(lambda: admin.status().log.index_lag == 0, "the index does not follow", self.ca, 5.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    runtime = Path(tempfile.mkdtemp(prefix="prv-"))
    made = World(tmp_path_factory.mktemp("admin"), runtime)
    with made.ca:
        yield made
    shutil.rmtree(runtime)


@pytest.fixture(scope="module")
def hosts(world: World) -> dict[str, int]:
    """Serial by name of some certificates."""
    serials = {name: world.get(name, f"host{number}") for number, name in enumerate(HOSTS)}
    world.await_index()
    return serials


def test_what_step_got_is_listed(world: World, hosts: dict[str, int]) -> None:
    assert world.serials() >= set(hosts.values())
    assert world.serials("--name '*.example.com'") == {hosts["a.example.com"], hosts["b.example.com"]}
    assert world.serials("--name XEXAMPLE.com") == {hosts["xexample.com"]}
    assert world.serials("--name '*.example.com' --expiring-within 2d") == world.serials("--name '*.example.com'")
    assert world.serials("--name '*.example.com' --expiring-within 1h") == set()
    assert world.serials("--expired") == set()
    assert world.serials("--provisioner nobody") == set()


def test_by_key_file_serial_and_fingerprint(world: World, hosts: dict[str, int]) -> None:
    serial = hosts["a.example.com"]
    (item,) = world.list(f"--serial {serial}")
    fingerprint = world.place.do("step certificate fingerprint host0.crt").strip()
    assert item["fingerprint"] == fingerprint
    for conditions in (f"--fingerprint {fingerprint}", "--key host0.key", "--key host0.crt", f"--serial {serial:#x}"):
        assert world.serials(conditions) == {serial}, conditions
    world.place.do(
        "step crypto key format --pem host0.crt --out host0.pub || openssl x509 -pubkey -in host0.crt > host0.pub"
    )
    assert world.serials("--key host0.pub") == {serial}


def test_two_pages(world: World, hosts: dict[str, int]) -> None:
    first = world.place.run(f"provisor ca certificates list --json --name '*.com' --limit 2 {world.flags}")
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = world.place.run(f"provisor ca certificates list --json --name '*.com' --cursor {cursor} {world.flags}")
    assert second.stderr == ""
    found = [item["names"][0] for item in (*json.loads(first.stdout), *json.loads(second.stdout))]
    assert found[:3] == ["a.example.com", "b.example.com", "xexample.com"]
    assert len(found) == len(set(found))


def test_the_forms_of_an_export(world: World, hosts: dict[str, int]) -> None:
    words = f"provisor ca certificates export --name '*.example.com' {world.flags}"
    world.place.do(f"{words} all.pem")
    found = x509.load_pem_x509_certificates((world.place.cwd / "all.pem").read_bytes())
    assert {each.serial_number for each in found} == {hosts["a.example.com"], hosts["b.example.com"]}
    assert world.place.run(f"{words} all.pem").status != 0
    world.place.do(f"{words} all.pem --force")
    lines = world.place.do(f"{words} --format ndjson").splitlines()
    assert [json.loads(line)["names"] for line in lines] == [["a.example.com"], ["b.example.com"]]
    assert all("BEGIN CERTIFICATE" in json.loads(line)["certificate"] for line in lines)
    rows = list(csv.DictReader(io.StringIO(world.place.do(f"provisor ca certificates list --csv {world.flags}"))))
    assert {row["names"] for row in rows} >= {"a.example.com", "'=1+1.example.org"}


def test_show_tells_the_whole_line_before_it_is_indexed(world: World, hosts: dict[str, int]) -> None:
    first = world.get("line.example.org", "line")
    second = world.renew("line")
    shown = json.loads(world.place.do(f"provisor ca certificates show {first} --json {world.flags}"))
    assert [member["serial"] for member in shown["line"]] == [str(second), str(first)]
    assert shown["successors"] == [str(second)]
    assert shown["event"]["given"]["serial"] == str(first)
    shown = json.loads(world.place.do(f"provisor ca certificates show {second:#x} --json {world.flags}"))
    assert shown["predecessor"]["serial"] == str(first)
    text = world.place.do(f"provisor ca certificates show {second} {world.flags}")
    assert f"* {second} (valid" in text
    assert "line.example.org" in text


def test_a_line_is_ended_and_renews_no_more(world: World, hosts: dict[str, int]) -> None:
    first = world.get("end.example.org", "end")
    shutil.copy(world.place.cwd / "end.crt", world.place.cwd / "first.crt")
    serials = {first, world.renew("end"), world.renew("end")}
    done = world.place.run(
        f"provisor ca revoke --lineage {first} --reason lost --reasonCode keyCompromise {world.flags}"
    )
    assert done.status == 0, done
    assert f"Line of {first}: 3 certificates revoked, 0 revoked before." in done.stderr
    for file in ("end", "first"):
        refused = world.place.run(f"step ca renew --force {file}.crt end.key")
        assert refused.status == 1, refused
    assert world.serials("--revoked") >= serials
    listed = {revoked.serial_number for revoked in crl(world)}
    assert listed >= serials
    shown = json.loads(world.place.do(f"provisor ca certificates show {first} --json {world.flags}"))
    assert shown["revocation"]["method"] == "admin-socket"
    assert (shown["revocation"]["reasonCode"], shown["revocation"]["reason"]) == (1, "lost")
    again = world.place.run(f"provisor ca revoke --lineage {max(serials)} {world.flags}")
    assert "0 certificates revoked, 3 revoked before." in again.stderr
    assert world.place.run("step ca renew --force host0.crt host0.key").status == 0


def crl(world: World) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(world.ca.get("/crl").body)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("certificates show 5", 1, "no certificate with the serial 5"),
        ("certificates show zz", 1, "neither a serial number"),
        ("certificates list --name 'a*b'", 1, "is no pattern"),
        ("certificates list --cursor x", 1, "cursor is not one of this search"),
        ("certificates list --expired --active", 1, "mutually exclusive"),
        ("certificates list --expiring-within soon", 1, "a duration such as 30d"),
        ("certificates list --key nothing", 1, "neither a file nor"),
        ("certificates export --format xml", 1, "options are pem, csv, ndjson"),
        ("revoke --lineage 5", 1, "no certificate of a line"),
        ("revoke --lineage 5 --token x", 1, "incompatible"),
    ],
)
def test_what_is_wrong_is_said(world: World, words: str, status: int, said: str) -> None:
    done = world.place.run(f"provisor ca {words} {world.flags}")
    assert (done.status, done.stdout) == (status, "")
    assert said in done.stderr


def test_the_status(world: World, hosts: dict[str, int]) -> None:
    status = json.loads(world.place.do(f"provisor ca status --json {world.flags}"))
    assert {process["role"] for process in status["processes"]} == {"supervisor", "notary", "jobs", "worker"}
    assert {process["pid"] for process in status["processes"]} == set(world.ca.everybody())
    assert status["store"]["certificates"] >= len(hosts)
    assert status["issuers"][0]["state"] == "active"
    assert status["crl"]["number"] >= 0
    assert status["config"] == str(world.ca.config_file)
    text = world.place.do(f"provisor ca status {world.flags}")
    assert "Revocation list: number" in text


class TestStrangers:
    @pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
    def test_another_user_cannot_even_connect(self, world: World) -> None:
        world.socket.parent.chmod(0o755)
        done = as_user(54321, f"AdminClient({str(world.socket)!r}).status()")
        assert "permission denied on the admin socket" in done
        assert "only root may use it" in done

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
    def test_nor_be_answered_if_the_mode_is_spoilt(self, world: World) -> None:
        world.socket.parent.chmod(0o755)
        world.socket.chmod(0o666)
        try:
            done = as_user(54321, f"AdminClient({str(world.socket)!r}).status()")
        finally:
            world.socket.chmod(0o600)
        assert "closed before an answer" in done
        world.ca.await_log("admin socket: uid 54321 was turned away")

    def test_the_api_of_strangers_has_nothing_of_it(self, world: World) -> None:
        for path in ("/certificates", "/status", "/1.0/certificates", "/1.0/status", "/lineages/5/revoke"):
            assert world.ca.get(path).status == 404

    def test_the_socket_has_nothing_of_the_api(self, world: World) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(world.socket))
            client.sendall(b"POST /sign HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            assert client.recv(4096).startswith(b"HTTP/1.1 404 ")


def as_user(user: int, expression: str) -> str:
    """What a child of that user says to it."""
    script = (
        "import os\nfrom provisor.client.admin import AdminClient\nfrom provisor.client.errors import ClientError\n"
        f"os.setgroups([])\nos.setgid({user})\nos.setuid({user})\n"
        f"try:\n    print({expression})\nexcept ClientError as error:\n    print(error.detail)\n"
    )
    source = str(Path(__file__).resolve().parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    return done.stdout


class TestItsLife:
    def test_it_comes_and_goes_with_the_server_and_a_stale_one_is_replaced(self, tmp_path: Path) -> None:
        runtime = Path(tempfile.mkdtemp(prefix="prv-"))
        path = runtime / "s"
        settings = {"provisor": {"workers": 1, "adminSocket": str(path)}}
        with RunningProvisor(tmp_path, settings=settings) as ca:
            admin = AdminClient(str(path))
            (jobs,) = ca.pids("jobs")
            os.kill(jobs, 9)
            wait_for(lambda: ca.pids("jobs") not in ([], [jobs]), "no other jobs process", ca)
            wait_for(lambda: _answers(admin), "the socket does not come back", ca)
            assert admin.status().epoch == 1
            ca.write_config(provisor={"workers": 1, "adminSocket": str(runtime / "t")})
            ca.reload()
            wait_for(lambda: _answers(AdminClient(str(runtime / "t"))), "the socket does not move", ca)
            assert not path.exists()
            ca.write_config(provisor={"workers": 1, "adminSocket": ""})
            ca.reload()
            wait_for(lambda: not (runtime / "t").exists(), "the socket stays", ca)
        assert not list(runtime.glob("*"))
        shutil.rmtree(runtime)

    @pytest.mark.parametrize("place", ["missing/s", "x" * 120, "file"])
    def test_without_it_the_ca_serves(self, tmp_path: Path, place: str) -> None:
        runtime = Path(tempfile.mkdtemp(prefix="prv-"))
        (runtime / "file").write_text("precious")
        settings = {"provisor": {"workers": 1, "adminSocket": str(runtime / place)}}
        with RunningProvisor(tmp_path, settings=settings) as ca:
            assert ca.get("/health").status == 200
            ca.await_log("is not served: ")
            assert "provisor.adminSocket names another path" in ca.log
        assert (runtime / "file").read_text() == "precious"
        shutil.rmtree(runtime)

    def test_without_a_database_there_is_nothing_to_ask(self, tmp_path: Path) -> None:
        runtime = Path(tempfile.mkdtemp(prefix="prv-"))
        settings = {"provisor": {"workers": 1, "adminSocket": str(runtime / "s")}}
        with RunningProvisor(tmp_path, settings=settings, database=False) as ca:
            place = Workplace(tmp_path / "work", tmp_path / "step")
            done = place.run(f"provisor ca certificates list --ca-config {ca.config_file}")
            assert done.status == 1
            assert "needs a database" in done.stderr
        done = place.run(f"provisor ca status --ca-config {ca.config_file}")
        assert "the server is not running" in done.stderr
        shutil.rmtree(runtime)

    def test_what_is_issued_is_indexed_within_seconds(self, world: World) -> None:
        began = time.monotonic()
        serial = world.get("soon.example.org", "soon")
        wait_for(lambda: world.serials("--name soon.example.org") == {serial}, "not indexed", world.ca, 5.0)
        assert time.monotonic() - began < 10


def _answers(admin: AdminClient) -> bool:
    from provisor.client.errors import ClientError

    try:
        admin.status()
    except ClientError:
        return False
    return True
