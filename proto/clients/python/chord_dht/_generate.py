# SPDX-License-Identifier: MIT
"""Makes the protobuf modules of the contract with protoc: at build time (setup.py), or, in a source
tree that was never built, when the package is first used (messages.py). Imports nothing of the
package, so that a build needs no protobuf."""

import pathlib
import re
import shutil
import subprocess
import tempfile

NAMES = ("common", "envelope", "ring", "replica", "kv", "admin", "meta")
PACKAGE = "_pb2"


def proto_files(root: pathlib.Path) -> "list[pathlib.Path]":
    """The contract's files below `root`, the folder that has chord/v1."""
    return [root / "chord" / "v1" / f"{name}.proto" for name in NAMES]


def generate(root: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the package `_pb2` into the folder `target`. RuntimeError: no protoc, or it failed.

    protoc writes `from chord.v1 import common_pb2`, a top-level package that others may use as well;
    here the modules stand beside each other and import each other relatively."""
    protoc = shutil.which("protoc")
    if protoc is None:
        raise RuntimeError("protoc is missing: apt-get install protobuf-compiler")
    package = target / PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        names = [str(path.relative_to(root)) for path in proto_files(root)]
        made = subprocess.run([protoc, "-I", str(root), f"--python_out={folder}", *names],
                              capture_output=True, text=True, check=False, timeout=60)
        if made.returncode != 0:
            raise RuntimeError(f"{protoc} ended with {made.returncode}: {made.stderr.strip()}")
        for name in NAMES:
            text = (pathlib.Path(folder) / "chord" / "v1" / f"{name}_pb2.py").read_text()
            text = re.sub(r"^from chord\.v1 import ", "from . import ", text, flags=re.MULTILINE)
            (package / f"{name}_pb2.py").write_text(text)
    (package / "__init__.py").write_text('"""Generated from proto/chord/v1."""\n')
