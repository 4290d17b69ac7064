# SPDX-License-Identifier: MIT
"""What every part of the launcher shares: where the project is, and how a start is refused."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SCRIPT = ROOT / "deploy" / "install-deps.sh"

EXIT_FAILED = 1
EXIT_BAD_SETTING = 2


class Refused(Exception):
    """A reason to stop in one sentence for people. It is printed; no stack trace follows."""

    def __init__(self, sentence, exit_code=EXIT_FAILED):
        super().__init__(sentence)
        self.exit_code = exit_code


def commit_of_checkout():
    """The commit that is checked out here, or "" where this is no checkout of git."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True,
                              text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
