"""Provisioners in ca.json, edited by one program and read by another after a reload: every client with every server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509

from support.peers import PASSWORD, require_peer
from support.provisor_process import CAFolder, CAProcess, provisor_ca, step_ca
from support.step_lab import Workplace, configure

pytestmark = pytest.mark.peer

CLIENTS: Final = ("step", "provisor")
SUCCESS: Final = "Success! Your `step-ca` config has been updated."


class World:
    """A running CA and a workplace that knows it."""

    def __init__(self, folder: CAFolder, server: CAProcess, workplace: Workplace) -> None:
        self.folder = folder
        self.server = server
        self.workplace = workplace
        self.run = workplace.run
        self.do = workplace.do

    def names(self, client: str) -> list[str]:
        return [entry["name"] for entry in json.loads(self.do(f"{client} ca provisioner list"))]

    def edit(self, words: str) -> str:
        """A command that edits ca.json; what it said."""
        done = self.run(f"{words} --ca-config {self.folder.config_file}")
        assert done.status == 0, done
        return done.stderr


@pytest.fixture(scope="module", params=["provisor", "step-ca"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require_peer("step")
    base: Path = tmp_path_factory.mktemp("provisioners")
    folder = CAFolder(base / "ca")
    workplace = Workplace(base / "work", base / "step")
    configure(workplace.step_path, folder.url, folder.fingerprint, folder.pki.root_file)
    (workplace.cwd / "pw").write_text(PASSWORD)
    with folder.serve(provisor_ca() if request.param == "provisor" else step_ca()) as server:
        yield World(folder, server, workplace)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_provisioner_that_is_added_to_ca_json_issues_after_a_reload_until_it_is_removed(
    client: str, world: World
) -> None:
    name = f"by-{client}"
    assert SUCCESS in world.edit(f"{client} ca provisioner add {name} --type JWK --create --password-file pw")
    assert world.names(client) == ["you@smallstep.com"]
    world.server.reload()
    assert world.names("step") == world.names("provisor") == ["you@smallstep.com", name]
    for other in CLIENTS:
        issue = f"{other} ca certificate new.internal new.crt new.key --force --provisioner {name}"
        world.do(f"{issue} --provisioner-password-file pw")
        world.do(f"{other} ca renew new.crt new.key --force")
    assert SUCCESS in world.edit(f"{client} ca provisioner remove {name}")
    world.server.reload()
    assert world.names(client) == ["you@smallstep.com"]
    gone = world.run(f"{client} ca renew new.crt new.key --force")
    assert gone.status == 1
    assert "lacked necessary authorization" in gone.stderr


@pytest.mark.parametrize("client", CLIENTS)
def test_limits_that_are_set_for_a_provisioner_hold_after_a_reload(client: str, world: World) -> None:
    name = f"limits-{client}"
    limits = "--x509-min-dur 5m --x509-default-dur 10m --x509-max-dur 30m"
    world.edit(f"{client} ca provisioner add {name} --type JWK --create --password-file pw {limits}")
    world.server.reload()
    issue = f"step ca certificate short.internal short.crt short.key --force --provisioner {name}"
    issue += " --provisioner-password-file pw"
    refused = world.run(f"{issue} --not-after 1h")
    assert "is more than the authorized maximum certificate duration of 31m0s" in refused.stderr
    world.do(issue)
    leaf = x509.load_pem_x509_certificates((world.workplace.cwd / "short.crt").read_bytes())[0]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 11 * 60
    world.edit(f"{client} ca provisioner remove {name}")
    world.server.reload()


def test_both_clients_print_the_same_list(world: World) -> None:
    theirs, ours = (world.run(f"{client} ca provisioner list") for client in CLIENTS)
    assert ours == theirs


def test_both_clients_make_the_same_entry(world: World, tmp_path: Path) -> None:
    """Members in their order; keys, their encryption and names differ."""
    entries = []
    for client in CLIENTS:
        folder = CAFolder(tmp_path / client, [])
        world.do(
            f"{client} ca provisioner add one --type JWK --create --password-file pw --x509-max-dur 48h"
            f" --disable-renewal --ca-config {folder.config_file}"
        )
        (entry,) = json.loads(folder.config_file.read_text())["authority"]["provisioners"]
        entries.append(entry)
    theirs, ours = entries
    assert list(ours) == list(theirs)
    assert sorted(ours["key"]) == sorted(theirs["key"])
    for member in theirs.keys() - {"key", "encryptedKey"}:
        assert json.dumps(ours[member]) == json.dumps(theirs[member]), member


def test_before_it_edits_ca_json_step_looks_for_an_admin_interface_and_is_told_that_there_is_none(world: World) -> None:
    since = world.server.log_file.stat().st_size
    world.edit("step ca provisioner update you@smallstep.com")
    probes = [line for line in world.server.wait_for_log("/admin/admins", since) if "/admin/" in line]
    assert probes
    assert all('"status":404' in line for line in probes)
