# SPDX-License-Identifier: MIT
"""Builds the programs with CMake, which also fetches the page's modules (web/vendor.mjs).

A second start is quick and needs no network.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .common import ROOT, Refused

NPM_TIMEOUT_S = 600
VERSION_TIMEOUT_S = 5


class Programs:
    """Where the built programs of one build folder are."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.node = self.folder / "node" / "chord-node"
        self.gateway = self.folder / "gateway" / "chord-gateway"
        self.chordctl = self.folder / "node" / "chordctl"

    def version(self):
        """What the node says of itself, "0.3.0" say, or ""."""
        try:
            done = subprocess.run([str(self.node), "--version"], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=VERSION_TIMEOUT_S,
                                  check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "".join(done.stdout.split()[-1:])

    def check(self):
        for program in (self.node, self.gateway):
            if not os.access(program, os.X_OK):
                raise Refused(f"{program} is not there: build it first (python3 init.py builds)")


def run_quietly(arguments, what, cwd=ROOT, timeout=None, environment=None):
    """Runs a command; shows its output only when it fails."""
    try:
        done = subprocess.run(arguments, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        raise Refused(f"{what} did not end within {timeout} s: {' '.join(arguments)}") from None
    except OSError as error:
        raise Refused(f"{what} failed: {arguments[0]}: {error.strerror}") from error
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr, flush=True)
        raise Refused(f"{what} failed; its output is above")


def digest(*paths):
    joined = hashlib.sha256()
    for path in paths:
        joined.update(path.read_bytes())
    return joined.hexdigest()


def npm_ci(folder):
    """Installs the locked modules of a folder, unless that lock file's modules are there."""
    lock = folder / "package-lock.json"
    if not lock.exists():
        return
    stamp = folder / "node_modules" / ".chord-lock"
    wanted = digest(lock)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # Browsers come from the distribution, never from a test module's own download.
    environment = dict(os.environ, PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD="1",
                       PUPPETEER_SKIP_DOWNLOAD="1")
    run_quietly(["npm", "ci", "--no-audit", "--no-fund"],
                f"fetching the modules of {folder.relative_to(ROOT)}/ with npm "
                "(the first time this needs the network)",
                cwd=folder, timeout=NPM_TIMEOUT_S, environment=environment)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(wanted)


def cached(cache_text, name):
    match = re.search(rf"^{name}:\w+=(.*)$", cache_text, re.MULTILINE)
    return match[1] if match else None


def configure_arguments(preset, folder):
    """A build folder keeps its generator; one that was copied from elsewhere is made anew."""
    cache = folder / "CMakeCache.txt"
    generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    if cache.exists():
        text = cache.read_text(errors="replace")
        if cached(text, "CMAKE_HOME_DIRECTORY") == str(ROOT):
            generator = cached(text, "CMAKE_GENERATOR") or generator
        else:
            shutil.rmtree(folder)
            folder.mkdir()
    # Another compiler may know more warnings; those stop continuous integration, not people.
    strict = "ON" if os.environ.get("CI") else "OFF"
    return ["cmake", "--preset", preset, "-S", str(ROOT), "-B", str(folder), "-G", generator,
            f"-DCHORD_WERROR={strict}"]


def build(preset, say, target=None):
    """Builds one preset into build/<preset>, or one target of it; returns its Programs."""
    folder = ROOT / "build" / preset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two init.py at once must not build into one folder at the same time.
        lock = open(ROOT / "build" / f"{preset}.lock", "w", encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot build in {folder}: {error.strerror}; build elsewhere (cmake -S {ROOT} "
                      f"-B DIR --preset {preset} && cmake --build DIR) and start with --build DIR "
                      "--data-dir DATA, or copy the project to a folder of yours") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = not (folder / "CMakeCache.txt").exists()
        say(f"Building ({preset}{'; the first time takes a minute or two' if first else ''}) ...")
        arguments = configure_arguments(preset, folder)
        run_quietly(arguments, f"configuring the {preset} build")
        run_quietly(["cmake", "--build", str(folder), "-j", str(os.cpu_count() or 2),
                     *(["--target", target] if target else [])],
                    f"the {preset} build")
    return Programs(folder)
