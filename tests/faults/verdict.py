# SPDX-License-Identifier: MIT
"""What the checker of the simulator says of a history of real clients."""

import json
import subprocess

from cluster import Finding


def check(program, history, path):
    """The verdict's figures; raises Finding when anything is wrong. The file stays only then."""
    history.write(path)
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Finding(f"{path}: {done.stdout}{done.stderr[:4000]}")
    path.unlink()
    return json.loads(done.stdout)
