# SPDX-License-Identifier: MIT
"""proto/clients/rpc.sh: any method of a node, with protoc and nngcat alone."""

import os
import subprocess

from kv import RingClient
from ring import ROOT


def call(address, *words):
    return subprocess.run(["sh", ROOT / "proto" / "clients" / "rpc.sh", address, *words],
                          capture_output=True, text=True, timeout=60, check=False)


def quoted(data):
    return "".join(f"\\x{byte:02x}" for byte in data)


def test_shell_recipe(new_ring):
    ring = new_ring(NUM_OF_NODES=2, M=32).start(2)
    ring.wait_healthy(2)
    value = bytes(range(256)) + b"100% \\' \" \\x41"
    put = (f'operation {{ kind: OPERATION_KIND_PUT key: "apple" value: "{quoted(value)}" '
           f'op_id: "{quoted(os.urandom(16))}" }}')
    done = call(ring.address(1), "KvService/Put", "PutRequest", "PutResponse", put)
    assert done.returncode == 0 and "version" in done.stdout, done
    with RingClient(ring.address(2)) as client:
        assert client.value("apple") == value
        client.put("pear", value)
    done = call(ring.address(2), "KvService/Get", "GetRequest", "GetResponse", 'key: "pear"')
    assert done.returncode == 0, done
    assert r'100% \\\' \" \\x41"' in done.stdout and r'value: "\000\001\002' in done.stdout, done.stdout
    done = call(ring.address(1), "KvService/Nothing", "GetRequest", "GetResponse", "")
    assert done.returncode == 1 and "CODE_UNIMPLEMENTED" in done.stderr, done
    done = call("127.0.0.1:9", "KvService/Get", "GetRequest", "GetResponse", 'key: "a"')
    assert done.returncode == 1 and "127.0.0.1:9 does not answer" in done.stderr, done
    done = call(ring.address(1), "KvService/Get")
    assert done.returncode == 2 and "HOST:PORT" in done.stderr, done
