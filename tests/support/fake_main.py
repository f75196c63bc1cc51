"""A supervisor over fake children: `fake_main.py CONFIG [PIDFILE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from provisor.server.supervisor import Supervisor, SupervisorOptions

if __name__ == "__main__":
    child = str(Path(__file__).with_name("fake_child.py"))
    options = SupervisorOptions(
        options={"config": sys.argv[1]},
        secrets={"password": "hunter2"},
        pidfile=sys.argv[2] if len(sys.argv) > 2 else "",
        start_seconds=10,
        reload_seconds=5,
        drain_seconds=5,
    )
    table = {role: (sys.executable, child, role) for role in ("notary", "jobs", "worker")}
    sys.exit(Supervisor(options, table).run())
