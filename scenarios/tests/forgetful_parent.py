"""Mounts a forgetful disk and waits to be killed: run by the tests as `python forgetful_parent.py DIRECTORY`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from perdure_scenarios.forgetful import ForgetfulDisk

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    with ForgetfulDisk(directory):
        (directory / "file").write_bytes(b"x")
        print("mounted", flush=True)
        while True:
            time.sleep(60)
