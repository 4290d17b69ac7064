# SPDX-License-Identifier: MIT
"""The driver by which the tests ask this client the same as those of other languages: one JSON object
a line on the standard input, one a line on the standard output; requests run concurrently and are
answered in any order. tests/system/test_conformance.py speaks to it.

    python3 -m chord_dht.conformance
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any, Dict, List, Optional, Set, Union

from . import AsyncClient, ChordError, Delete, Get, Operation, Put, Result, Version

Json = Dict[str, Any]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _seconds(request: Json) -> Optional[float]:
    return request["timeout_ms"] / 1000 if "timeout_ms" in request else None


def operation_of(request: Json) -> Operation:
    """ValueError, KeyError, TypeError: it says no operation."""
    kind, key = request["do"], _bytes(request["key"])
    if kind == "get":
        return Get(key, request.get("stale", False))
    version = request.get("if_version")
    if_version = None if version is None else Version.parse(version)
    if_absent = request.get("if_absent", False)
    if kind == "put":
        return Put(key, _bytes(request["value"]), if_absent, if_version,
                   request.get("expires_at_ms", 0))
    if kind == "delete":
        return Delete(key, if_absent, if_version)
    raise ValueError(f"unknown do: {kind!r}")


def answer_of(operation: Operation, result: Result) -> Json:
    """A result as the protocol has it."""
    answer: Json = {"code": result.code, "fate": result.fate}
    if result.version is not None:
        answer["version"] = str(result.version)
    if result.fate != "done":
        answer["message"] = result.message
    elif isinstance(operation, Get):
        if result.code == "OK":
            answer.update(value=_text(result.value), expires_at_ms=result.expires_at_ms)
        answer["stale"] = result.stale
    else:
        answer["existed"] = result.existed
    return answer


def error_of(error: ChordError) -> Json:
    """Of what did not succeed."""
    return {"code": error.code, "fate": error.fate, "message": error.message}


def refusal(problem: Exception) -> Json:
    """Of a request that is not understood; nothing was sent."""
    return {"code": "INVALID_ARGUMENT", "fate": "not done",
            "message": f"{type(problem).__name__}: {problem}"}


class Driver:
    """Answers requests; one client is open at a time."""

    def __init__(self) -> None:
        self._client: Optional[AsyncClient] = None
        self._sent_before = 0  # by clients that are closed

    async def answer(self, request: Json) -> Json:
        """Never raises."""
        try:
            return await self._answer(request)
        except ChordError as error:
            return error_of(error)
        except (KeyError, TypeError, ValueError) as problem:
            return refusal(problem)

    async def _answer(self, request: Json) -> Json:
        kind = request["do"]
        if kind == "open":
            return self._open(request)
        if kind == "close":
            return await self.close()
        if kind == "counters":
            sent = self._client.requests_sent if self._client else 0
            return {"code": "OK", "calls": self._sent_before + sent}
        if self._client is None:
            raise ValueError("open comes first")
        if kind == "batch":
            return {"results": await self._batch(self._client, request)}
        if kind == "lookup":
            found = await self._client.lookup(_bytes(request["key"]), timeout=_seconds(request))
            return {"code": "OK", "fate": "done", "owner": found.owner.address,
                    "key_id": found.key_id.hex(), "hops": len(found.hops)}
        if kind == "server_info":
            info = await self._client.server_info(timeout=_seconds(request))
            return {"code": "OK", "fate": "done", "m": info.m, "n": info.n,
                    "replicas": info.replicas, "ring_id": info.ring_id.hex()}
        if kind == "call":
            told = await self._client.call(request["method"], _bytes(request.get("payload", "")),
                                           timeout=_seconds(request))
            return {"code": told.code, "fate": told.fate, "payload": _text(told.payload),
                    "message": told.message}
        operation = operation_of(request)
        (result,) = await self._client.batch([operation], timeout=_seconds(request))
        return answer_of(operation, result)

    def _open(self, request: Json) -> Json:
        if self._client is not None:
            raise ValueError("a client is open already")
        times = {name: request[field] / 1000 for name, field in
                 (("timeout", "timeout_ms"), ("attempt_timeout", "attempt_ms")) if field in request}
        self._client = AsyncClient(request["members"], key=_bytes(request.get("key", "")), **times)
        return {"code": "OK"}

    async def _batch(self, client: AsyncClient, request: Json) -> List[Json]:
        """What is not understood is refused in its place; the others are carried out."""
        asked: List[Union[Operation, Json]] = []
        for one in request["operations"]:
            try:
                asked.append(operation_of(one))
            except (KeyError, TypeError, ValueError) as problem:
                asked.append(refusal(problem))
        operations = [one for one in asked if not isinstance(one, dict)]
        try:
            results = iter(await client.batch(operations, timeout=_seconds(request)))
        except ChordError as error:  # not one was begun
            return [one if isinstance(one, dict) else error_of(error) for one in asked]
        return [one if isinstance(one, dict) else answer_of(one, next(results)) for one in asked]

    async def close(self) -> Json:
        """Of the client; then another may be opened."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            self._sent_before += client.requests_sent
        return {"code": "OK"}


async def _serve(driver: Driver, line: bytes) -> None:
    answer: Json
    number: Any = None
    try:
        request = json.loads(line)
        number = request.get("id")
        answer = await driver.answer(request)
    except (AttributeError, ValueError) as problem:
        answer = refusal(problem)
    sys.stdout.write(json.dumps({"id": number, **answer}) + "\n")
    sys.stdout.flush()


async def _main() -> None:
    driver, loop = Driver(), asyncio.get_running_loop()
    tasks: "Set[asyncio.Task[None]]" = set()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.buffer.readline)
        if not line:
            break
        if line.strip():
            task = loop.create_task(_serve(driver, line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    await driver.close()


if __name__ == "__main__":
    asyncio.run(_main())
