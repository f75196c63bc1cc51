"""PKI folders exchanged: what `step ca init` made is served by Provisor, what `provisor ca init` made by step-ca."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from support.peers import free_port, require_peer
from support.provisor_process import CAProcess, provisor_ca, serve_init_folder, step_ca
from support.step_lab import Workplace

pytestmark = pytest.mark.peer

CLIENTS: Final = ("step", "provisor")
ADMIN: Final = "--provisioner admin --provisioner-password-file pw"


def make_folder(base: Path, program: str, options: str = "") -> Workplace:
    """A $STEPPATH made by `program ca init`, for a CA on a port that is free now."""
    require_peer("step")
    workplace = Workplace(base / "work", base / "step")
    (workplace.cwd / "pw").write_text("a password\n")
    workplace.do(
        f"{program} ca init --deployment-type standalone --name Exchange --dns localhost --dns 127.0.0.1"
        f" --address 127.0.0.1:{free_port()} --provisioner admin --password-file pw {options}"
    )
    return workplace


def serve(workplace: Workplace, program: Sequence[str]) -> CAProcess:
    return serve_init_folder(program, workplace.step_path, workplace.cwd / "pw")


def use_with(client: str, workplace: Workplace) -> None:
    """A certificate's whole life, by one of the clients, with the configuration that `ca init` left."""
    root = workplace.step_path / "certs" / "root_ca.crt"
    crt = f"{client}.crt {client}.key"
    assert workplace.do(f"{client} ca health") == "ok\n"
    assert workplace.do(f"{client} ca roots") == root.read_text()
    workplace.do(f"{client} ca certificate {client}.internal {crt} {ADMIN}")
    verify = f"openssl verify -x509_strict -CAfile {root} -untrusted {client}.crt {client}.crt"
    assert workplace.do(verify) == f"{client}.crt: OK\n"
    workplace.do(f"{client} ca renew {crt} --force")
    workplace.do(f"{client} ca renew {crt} --force --mtls=false")
    workplace.do(f"{client} ca rekey {crt} --force")
    assert workplace.do(verify) == f"{client}.crt: OK\n"
    workplace.do(f"{client} ca revoke --cert {client}.crt --key {client}.key")
    assert workplace.run(f"{client} ca renew {crt} --force").status == 1


@pytest.fixture(scope="module")
def of_step(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    workplace = make_folder(tmp_path_factory.mktemp("of-step"), "step", "--acme")
    with serve(workplace, provisor_ca()):
        yield workplace


@pytest.fixture(scope="module")
def of_provisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    workplace = make_folder(tmp_path_factory.mktemp("of-provisor"), "provisor")
    with serve(workplace, step_ca()):
        yield workplace


@pytest.mark.parametrize("client", CLIENTS)
def test_a_folder_of_step_is_served_by_provisor(client: str, of_step: Workplace) -> None:
    use_with(client, of_step)


def test_its_acme_provisioner_is_listed_and_answers_nothing(of_step: Workplace) -> None:
    listed = json.loads(of_step.do("step ca provisioner list"))
    assert [(entry["type"], entry["name"]) for entry in listed] == [("JWK", "admin"), ("ACME", "acme")]
    url = json.loads((of_step.step_path / "config" / "defaults.json").read_text())["ca-url"]
    root = of_step.step_path / "certs" / "root_ca.crt"
    status = of_step.do(f"curl -s --cacert {root} -o /dev/null -w '%{{http_code}}' {url}/acme/acme/directory")
    assert status == "404"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_folder_of_provisor_is_served_by_step_ca(client: str, of_provisor: Workplace) -> None:
    use_with(client, of_provisor)


def test_both_make_the_same_files_with_the_same_modes(
    tmp_path_factory: pytest.TempPathFactory, of_provisor: Workplace
) -> None:
    """Before anybody served them; the real one's database folder is there from the start as ours is."""
    theirs = make_folder(tmp_path_factory.mktemp("theirs"), "step").step_path
    ours = make_folder(tmp_path_factory.mktemp("ours"), "provisor").step_path
    assert modes(ours) == modes(theirs)
    for name in ("config/ca.json", "config/defaults.json"):
        mine, other = (json.loads((folder / name).read_text()) for folder in (ours, theirs))
        assert shape(mine) == shape(other), name


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def shape(value: object) -> object:
    """Members in their order and the types of what they hold."""
    if isinstance(value, dict):
        return [(name, shape(member)) for name, member in value.items()]
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


# -- where step-ca has been -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def left_by_step_ca(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder of `step ca init` whose step-ca has issued and revoked, and is gone."""
    workplace = make_folder(tmp_path_factory.mktemp("left"), "step")
    with serve(workplace, step_ca()):
        workplace.do(f"step ca certificate old.internal old.crt old.key {ADMIN}")
        workplace.do(f"step ca certificate gone.internal gone.crt gone.key {ADMIN}")
        workplace.do("step ca revoke --cert gone.crt --key gone.key")
    return workplace


def test_the_database_of_step_ca_is_refused_and_the_text_names_the_remedy(left_by_step_ca: Workplace) -> None:
    config = left_by_step_ca.step_path / "config" / "ca.json"
    before = {path: path.read_bytes() for path in (left_by_step_ca.step_path / "db").iterdir()}
    done = left_by_step_ca.run(f"provisor-ca {config} --password-file pw")
    assert done.status == 2
    assert "a Badger database of step-ca is there" in done.stderr
    assert "give another db.dataSource" in done.stderr
    assert "($.db.dataSource)" in done.stderr
    assert before == {path: path.read_bytes() for path in (left_by_step_ca.step_path / "db").iterdir()}


def test_with_another_data_source_it_serves_and_renews_what_step_ca_issued(
    left_by_step_ca: Workplace, tmp_path: Path
) -> None:
    step_path = tmp_path / "step"
    shutil.copytree(left_by_step_ca.step_path, step_path)
    for file in ("ca.json", "defaults.json"):
        path = step_path / "config" / file
        path.write_text(path.read_text().replace(str(left_by_step_ca.step_path), str(step_path)))
    config = step_path / "config" / "ca.json"
    document = json.loads(config.read_text())
    document["db"] = {"type": "sqlite", "dataSource": str(step_path / "provisor.db")}
    config.write_text(json.dumps(document))
    workplace = Workplace(tmp_path / "work", step_path)
    for file in ("pw", "old.crt", "old.key"):
        shutil.copy(left_by_step_ca.cwd / file, workplace.cwd)
    with serve(workplace, provisor_ca()):
        workplace.do("step ca renew old.crt old.key --force")
        use_with("step", workplace)
    store = sqlite3.connect(step_path / "provisor.db")
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_a_wrong_password_file_is_refused_by_both_in_the_same_words(tmp_path: Path) -> None:
    workplace = make_folder(tmp_path, "step")
    (workplace.cwd / "wrong").write_text("another\n")
    config = workplace.step_path / "config" / "ca.json"
    ended = [workplace.run(f"{program} {config} --password-file wrong") for program in (step_ca()[0], provisor_ca()[0])]
    first = [done.stderr.partition(" (")[0].strip() for done in ended]
    assert [done.status for done in ended] == [2, 2]
    assert first[0].splitlines()[-1] == first[1]
