"""nginx (Debian) takes a renewed certificate over: `--exec`, `--pid-file`, and a daemon whose CA goes and comes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisor.core.x509.certificate import parse_certificate
from support.peers import PASSWORD, REPOSITORY, RealStepCA, free_port, jwk_provisioner

pytestmark = pytest.mark.peer

PROVISOR = (sys.executable, "-c", "from provisor.cli.main import main; main()")
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/localhost.crt;
        ssl_certificate_key {folder}/localhost.key;
        location / {{ return 200 "hello"; }}
    }}
}}
"""


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


class Site:
    """nginx with a certificate of a real step-ca."""

    def __init__(self, folder: Path, ca: RealStepCA) -> None:
        self.folder = folder
        self.ca = ca
        self.port = free_port()
        shutil.copy(ca.pki.root_file, folder / "root_ca.crt")
        (folder / "pw").write_text(f"{PASSWORD}\n")
        (folder / "step" / "config").mkdir(parents=True)
        defaults = {"ca-url": ca.url, "fingerprint": ca.fingerprint, "root": str(folder / "root_ca.crt")}
        (folder / "step" / "config" / "defaults.json").write_text(json.dumps(defaults))
        (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=self.port))
        # No HOME and no terminal, as a service of systemd has none.
        self.environment = {
            "PATH": os.environ["PATH"],
            "STEPPATH": str(folder / "step"),
            "PYTHONPATH": str(REPOSITORY / "src"),
        }

    def provisor(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROVISOR, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
            check=False,
        )

    def serial(self) -> int:
        """Of the certificate that the site shows now."""
        context = ssl.create_default_context(cafile=str(self.folder / "root_ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return parse_certificate(der).serial

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(nginx):
        pytest.skip("nginx is not installed")
    (tmp_path / "ca").mkdir()
    with RealStepCA(tmp_path / "ca", [jwk_provisioner("you@smallstep.com")]) as ca:
        folder = tmp_path / "site"
        folder.mkdir()
        site = Site(folder, ca)
        words = ("--provisioner", "you@smallstep.com", "--provisioner-password-file", "pw")
        done = site.provisor("ca", "certificate", "localhost", "localhost.crt", "localhost.key", *words)
        assert done.returncode == 0, done.stderr
        with subprocess.Popen([nginx, "-p", str(folder), "-c", "nginx.conf"], cwd=folder) as process:
            try:
                wait_for(site.is_up, "nginx did not start")
                yield site
            finally:
                process.send_signal(signal.SIGQUIT)
                process.wait(20)


@pytest.mark.parametrize("command", ["renew", "rekey"])
def test_nginx_is_reloaded_by_exec(site: Site, command: str) -> None:
    before = site.serial()
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    reload = f"{nginx} -p {site.folder} -c nginx.conf -s reload"
    done = site.provisor("ca", command, "localhost.crt", "localhost.key", "--force", "--exec", reload)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: site.serial() != before, "nginx shows the old certificate")


def test_nginx_is_reloaded_by_signal(site: Site) -> None:
    before = site.serial()
    done = site.provisor("ca", "renew", "localhost.crt", "localhost.key", "--force", "--pid-file", "nginx.pid")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: site.serial() != before, "nginx shows the old certificate")


def start_again(ca: RealStepCA) -> None:
    """On the same port."""
    ca._process = subprocess.Popen(
        [ca.program, ca.config_file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "STEPPATH": str(ca.folder)},
    )

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", ca.port)) == 0

    wait_for(is_up, "step-ca did not start again")


def test_a_daemon_outlives_its_ca(site: Site) -> None:
    """The CA ends while the daemon waits; a hangup then fails, and the next one succeeds with the CA back."""
    before = site.serial()
    words = ("ca", "renew", "localhost.crt", "localhost.key", "--daemon", "--pid-file", "nginx.pid")
    with subprocess.Popen(
        [*PROVISOR, *words],
        cwd=site.folder,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stderr is not None
        assert "first renewal in 1" in daemon.stdout.readline()
        site.ca.process.kill()
        site.ca.process.wait(10)
        daemon.send_signal(signal.SIGHUP)
        assert "connection refused" in daemon.stderr.readline()
        assert site.serial() == before
        start_again(site.ca)
        daemon.send_signal(signal.SIGHUP)
        assert "localhost certificate renewed, next in 1" in daemon.stdout.readline()
        wait_for(lambda: site.serial() != before, "nginx shows the old certificate")
        daemon.terminate()
        assert daemon.wait(10) == 0
