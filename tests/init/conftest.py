# SPDX-License-Identifier: MIT
"""Tests of init.py's own logic: no process of the ring is started here."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
