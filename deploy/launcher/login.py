# SPDX-License-Identifier: MIT
"""One-time links for browsers, where the gateway asks for tokens: whoever may write DATA_DIR puts a code
there, and the gateway lets the first browser in that brings it (gateway/login.c)."""

import secrets
import time

from . import datadir

FILE = "login"
VALID_S = 600
CODE_BYTES = 24


def make_link(settings):
    """The link that opens the page once as an operator; one that was made before is void then."""
    code = secrets.token_urlsafe(CODE_BYTES)
    datadir.replace_file(settings["DATA_DIR"] / FILE, f"{code} {int(time.time()) + VALID_S}\n")
    # Behind #, which browsers send to nobody: it is in no log of a proxy.
    return f"{settings.dashboard()}/#login={code}"


def words(link):
    return f"As operator, once and within {VALID_S // 60} minutes: {link}"
