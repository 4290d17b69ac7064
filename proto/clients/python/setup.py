# SPDX-License-Identifier: MIT
"""The build: what pyproject.toml cannot say. The version is that of the whole project; the protobuf
modules are made by protoc, and the table of codes and the license are copied, into what is installed
and not into the source tree."""

import atexit
import pathlib
import re
import runpy
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO_ROOT = HERE.parents[1]
GENERATE = runpy.run_path(str(HERE / "chord_dht" / "_generate.py"))


def version():
    listing = PROTO_ROOT.parent / "CMakeLists.txt"
    if not listing.is_file():
        raise SystemExit(f"{listing} is missing: build from the project's source tree, by "
                         "`pip install proto/clients/python`")
    return re.search(r"^project\(\w+ VERSION ([\d.]+)", listing.read_text(), re.MULTILINE).group(1)


class Build(build_py):
    def run(self):
        super().run()
        package = pathlib.Path(self.build_lib) / "chord_dht"
        try:
            GENERATE["generate"](PROTO_ROOT, package)
        except RuntimeError as problem:
            raise SystemExit(f"chord-dht: {problem}") from problem
        shutil.copyfile(PROTO_ROOT / "clients" / "fates.csv", package / "fates.csv")
        shutil.copyfile(PROTO_ROOT.parent / "LICENSE", package / "LICENSE")


# The source tree may be read-only, or be built from twice at the same time.
scratch = tempfile.mkdtemp(prefix="chord-dht-build-")
atexit.register(shutil.rmtree, scratch, ignore_errors=True)
setup(version=version(), cmdclass={"build_py": Build},
      options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}})
