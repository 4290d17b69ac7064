# SPDX-License-Identifier: MIT
"""The distribution packages: finds what is missing, asks once, has it installed.

Only the standard library is used here: this runs before anything is known to be installed. The list
itself lives in deploy/install-deps.sh.
"""

import importlib.util
import os
import subprocess
import sys

from .common import INSTALL_SCRIPT, Refused

# Packages of the distribution that only its own interpreter can see.
MODULES = ("psutil",)
SYSTEM_PYTHON = "/usr/bin/python3"
SWITCHED = "CHORD_INIT_SWITCHED"
# Taken out of the environment, so that an init.py that this one starts may switch as well.
has_switched = os.environ.pop(SWITCHED, None) is not None


def extra_set(name):
    """Arguments of the script: None, "test", "fuzz", "coverage" or "figures"."""
    return [name] if name else []


def missing_packages(package_set):
    """Names of packages to install; calls no package manager."""
    arguments = ["sh", str(INSTALL_SCRIPT), "--missing", *extra_set(package_set)]
    try:
        answer = subprocess.run(arguments, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"cannot find out which packages are missing: {error}") from error
    return answer.stdout.split()


def install_command(package_set):
    return " ".join(["sh deploy/install-deps.sh", *extra_set(package_set)])


def ask(question):
    try:
        return input(question).strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def sudo_asks_nothing():
    """Whether this user may become root without a password."""
    try:
        return subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True,
                              check=False).returncode == 0
    except OSError:
        return False


def ensure_packages(package_set, assume_yes, say):
    """Returns when every package is there; raises Refused when that cannot be."""
    missing = [] if has_switched else missing_packages(package_set)
    if not missing:
        return
    say(f"Missing packages: {' '.join(missing)}")
    if os.geteuid() != 0 and not (assume_yes and sudo_asks_nothing()):
        raise Refused(
            f"{len(missing)} packages are missing and installing them needs root; run: "
            f"sudo {install_command(package_set)}"
        )
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and not assume_yes and not ask("Install them with apt-get now? [Y/n] "):
        raise Refused(f"nothing was installed; to do it by hand: {install_command(package_set)}")
    say("Installing ...")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    arguments = [*root, "sh", str(INSTALL_SCRIPT), *extra_set(package_set)]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
    still_missing = missing_packages(package_set)
    if done.returncode != 0 or still_missing:
        raise Refused(
            f"the packages could not be installed (still missing: {' '.join(still_missing)}); "
            f"see the output above, then run: {install_command(package_set)}"
        )
    importlib.invalidate_caches()


def modules_visible():
    return all(importlib.util.find_spec(name) for name in MODULES)


def carry_on_under_system_python():
    """Replaces this process by the distribution's interpreter when this one (pyenv, a venv) cannot
    see the distribution's modules. Returns when there is no need to."""
    if modules_visible():
        return
    if has_switched or not os.access(SYSTEM_PYTHON, os.X_OK):
        raise Refused(
            f"{sys.executable} cannot import {' and '.join(MODULES)}; "
            f"run: sudo apt-get install python3-psutil"
        )
    os.environ[SWITCHED] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ.pop("PYTHONHOME", None)
    os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, os.path.abspath(sys.argv[0])] + sys.argv[1:])
