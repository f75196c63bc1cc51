"""Where the local administrator's socket is: the server and its commands find it alike."""

from __future__ import annotations

import os
from typing import Final

NAME: Final = "admin.sock"
"""Beside ca.json, unless `provisor.adminSocket` says something else."""

SETTING: Final = "provisor.adminSocket"
LONGEST_PATH: Final = 107
"""Octets that the kernel takes for the path of a socket."""


def admin_socket_path(setting: str | None, config_file: str) -> str:
    """The path; empty if there is to be no socket. A relative one begins at the folder of ca.json."""
    if setting == "":
        return ""
    return os.path.join(os.path.dirname(os.path.abspath(config_file)), setting or NAME)
