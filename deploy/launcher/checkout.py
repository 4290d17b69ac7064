# SPDX-License-Identifier: MIT
"""This checkout as git knows it: which commit it is, and the bundle that brings it to another host."""

import subprocess

from .common import ROOT, Refused

SHORT = 12  # characters of a commit that people are shown


def commit():
    """The commit that is checked out here, or "" where this is no checkout of git."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True,
                              text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def git(*words):
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    if done.returncode != 0:
        raise Refused(f"git {words[0]} failed here: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Bundle:
    """(commit, bundle) when called, made once for all hosts; refused where the commit is not what lies
    here."""

    def __init__(self):
        self.made = None

    def __call__(self):
        if self.made is None:
            check_whole(commit())
            self.made = commit(), git("bundle", "create", "-", "HEAD")
        return self.made


def check_whole(name):
    if not name:
        raise Refused(f"{ROOT} is no checkout of git, so there is no commit to bring to the hosts")
    # .env holds this machine's settings; a host's are in hosts.toml.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!.env")
    if lines := changed.decode(errors="replace").splitlines():
        raise Refused(f"{len(lines)} files here differ from commit {name[:SHORT]} ({lines[0][3:]}): "
                      "commit them, or put them back (git stash), so that it is known what the hosts "
                      "run")
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise Refused("this checkout has only a part of its history, which git cannot hand on: git "
                      "fetch --unshallow")
