# SPDX-License-Identifier: MIT
"""What every part of the launcher shares: where the project is, and how a start is refused."""

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
