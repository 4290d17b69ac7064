# SPDX-License-Identifier: MIT
"""The generated protobuf modules. An installed package has them; a source tree makes them once, into
the user's cache folder."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from . import _generate

_FOLDER = pathlib.Path(__file__).resolve().parent
_PROTO_ROOT = _FOLDER.parents[2]


def _cached() -> pathlib.Path:
    """A folder with the package of exactly these .proto files; made when missing."""
    contract = hashlib.sha256(pathlib.Path(_generate.__file__).read_bytes())
    for path in _generate.proto_files(_PROTO_ROOT):
        contract.update(path.read_bytes())
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    try:
        base = base / "chord-dht"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        base = pathlib.Path(tempfile.mkdtemp(prefix="chord-dht-"))
    folder = base / f"pb2-{contract.hexdigest()[:16]}"
    if not folder.is_dir():
        # Into a folder of its own first: another process may do the same at the same time.
        fresh = pathlib.Path(tempfile.mkdtemp(dir=base))
        _generate.generate(_PROTO_ROOT, fresh)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder


@functools.lru_cache(maxsize=None)
def load() -> Any:
    """The modules as a namespace: .envelope, .kv, .common, .admin, .meta, .ring, .replica.

    RuntimeError: protobuf, or in a source tree protoc, is missing; the sentence says what to do."""
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        raise RuntimeError(f"{sys.executable} has no protobuf: apt-get install python3-protobuf and "
                           "use /usr/bin/python3, or pip install protobuf") from None
    package = sys.modules[__package__]
    if not (_FOLDER / _generate.PACKAGE).is_dir():
        package.__path__.append(str(_cached()))
    names = {name: importlib.import_module(f".{_generate.PACKAGE}.{name}_pb2", __package__)
             for name in _generate.NAMES}
    return SimpleNamespace(**names)


def code_name(number: int) -> str:
    """"NOT_FOUND" for CODE_NOT_FOUND; a number that this contract does not have: "CODE_99"."""
    try:
        name: str = load().envelope.Code.Name(number)
    except ValueError:
        return f"CODE_{number}"
    return name[len("CODE_"):]
