# SPDX-License-Identifier: MIT
"""Raw requests and their right answers by RFC 9110 and 9112: one table.

A row is (name, bytes, statuses of the answers in order). After each request that is refused for its
form another one is sent on the same connection: it must not be answered, and nothing may be stored.
"""

import re
import socket

import pytest

HOST = b"Host: localhost\r\n"
PROBE = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
KEY = b"/api/v1/kv/raw"
CLOSED = {400, 408, 413, 414, 415, 417, 431, 501, 505}


def get(head=b"", target=b"/livez", host=HOST, version=b"HTTP/1.1", method=b"GET"):
    return method + b" " + target + b" " + version + b"\r\n" + host + head + b"\r\n"


def put(head, body=b"", host=HOST, version=b"HTTP/1.1"):
    return get(head, KEY, host, version, b"PUT") + body


def length(text, body=b"hello"):
    return put(b"Content-Length:" + text + b"\r\n", body)


def chunked(body, head=b""):
    return put(b"Transfer-Encoding: chunked\r\n" + head, body)


LINES = [
    ("plain", get(), [200]),
    ("one empty line before", b"\r\n" + get(), [200]),
    ("two empty lines before a put", b"\r\n\r\n" + length(b" 5"), [201]),
    ("LF only", get().replace(b"\r\n", b"\n"), [400]),
    ("LF after the request line", get().replace(b"\r\n", b"\n", 1), [400]),
    ("LF after a header", b"GET /livez HTTP/1.1\r\nHost: localhost\n\r\n", [400]),
    ("LF as the empty line", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\n", [400]),
    ("LF hides a length", put(b"X: y\nContent-Length: 5\r\n", b"hello"), [400]),
    ("CR only", get().replace(b"\r\n", b"\r"), [400]),
    ("CR in a value", get(b"X: a\rb\r\n"), [400]),
    ("CR CR LF", get(b"X: a\r\r\n"), [400]),
    ("CR CR after the request line", b"GET /livez HTTP/1.1\r\rHost: localhost\r\n\r\n", [400]),
    ("CR before the colon", get(b"X\r: a\r\n"), [400]),
    ("LF CR", get(b"X: a\n\r"), [400]),
    ("vertical tab in a value", get(b"X: a\x0bb\r\n"), [400]),
    ("form feed between words", get(target=b"/livez\x0c"), [400]),
]

REQUEST_LINES = [
    ("no version", b"GET /livez\r\n\r\n", [400]),
    ("only a method", b"GET\r\n\r\n", [400]),
    ("blank before the method", b" " + get(), [400]),
    ("tab before the method", b"\t" + get(), [400]),
    ("two blanks before the address", get(target=b" /livez"), [400]),
    ("two blanks before the version", get(version=b" HTTP/1.1"), [400]),
    ("blank after the version", get(version=b"HTTP/1.1 "), [400]),
    ("tabs between words", get().replace(b" ", b"\t", 2), [400]),
    ("blank in the address", get(target=b"/li vez"), [400]),
    ("lower-case version", get(version=b"http/1.1"), [400]),
    ("version without minor", get(version=b"HTTP/1"), [400]),
    ("version with two digits", get(version=b"HTTP/1.11"), [400]),
    ("version with leading zero", get(version=b"HTTP/01.1"), [400]),
    ("another protocol", get(version=b"ICY/1.1"), [400]),
    ("version 0.9", get(version=b"HTTP/0.9"), [505]),
    ("version 2.0", get(version=b"HTTP/2.0"), [505]),
    ("version 3.0", get(version=b"HTTP/3.0"), [505]),
    ("later minor version", get(version=b"HTTP/1.2"), [200]),
    ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    ("start of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, [400]),
    ("NUL in the address", get(target=b"/li\x00vez"), [400]),
    ("bytes over 127 in the address", get(target=b"/api/v1/kv/\xc3\xbc"), [400]),
    ("fragment", get(target=b"/livez#top"), [400]),
    ("method with a bad byte", get(method=b"G(T"), [400]),
    ("empty method", get(method=b""), [400]),
    ("lower-case method", get(method=b"get"), [501]),
    ("unknown method", get(method=b"BREW"), [501]),
    ("TRACE", get(method=b"TRACE"), [501]),
    ("PATCH of a readable thing", get(method=b"PATCH", head=b"Content-Length: 0\r\n"), [405]),
    ("POST where only GET goes", get(method=b"POST", head=b"Content-Length: 0\r\n"), [405]),
    ("POST to a page", get(method=b"POST", target=b"/"), [405]),
    ("OPTIONS of a key", get(method=b"OPTIONS", target=KEY), [204]),
    ("OPTIONS of a page", get(method=b"OPTIONS", target=b"/"), [204]),
    ("OPTIONS of nothing", get(method=b"OPTIONS", target=b"/nothing"), [404]),
    ("address of 8 KiB", get(target=b"/" + b"a" * 8000), [404]),
    ("address of 9 KiB", get(target=b"/" + b"a" * 9000), [414]),
    ("address of 20 KiB", get(target=b"/" + b"a" * 20000), [414]),
    ("query of 20 KiB", get(target=b"/livez?" + b"a" * 20000), [414]),
    ("method of 20 KiB", get(method=b"A" * 20000), [414]),
]

TARGETS = [
    ("absolute", get(target=b"http://localhost/livez"), [200]),
    ("absolute, upper-case scheme", get(target=b"HTTP://LOCALHOST:3000/livez"), [200]),
    ("absolute beats Host", get(target=b"http://localhost/livez", host=b"Host: evil.example\r\n"), [200]),
    ("absolute, foreign", get(target=b"http://evil.example/livez"), [403]),
    ("absolute without Host", get(target=b"http://localhost/livez", host=b""), [400]),
    ("absolute without a path", get(target=b"http://localhost"), [200]),
    ("absolute, query without a path", get(target=b"http://localhost?a=b"), [200]),
    ("absolute with a user", get(target=b"http://me@localhost/livez"), [400]),
    ("absolute, no host", get(target=b"http:///livez"), [400]),
    ("absolute, another scheme", get(target=b"ftp://localhost/livez"), [400]),
    ("OPTIONS *", get(method=b"OPTIONS", target=b"*"), [204]),
    ("OPTIONS of the absolute server", get(method=b"OPTIONS", target=b"http://localhost"), [204]),
    ("GET *", get(target=b"*"), [400]),
    ("authority form", get(target=b"localhost:80"), [400]),
    ("CONNECT", get(method=b"CONNECT", target=b"localhost:80"), [501]),
    ("CONNECT to a path", get(method=b"CONNECT", target=b"/livez"), [501]),
    ("no slash", get(target=b"livez"), [400]),
]

HOSTS = [
    ("no Host", get(host=b""), [400]),
    ("two Hosts", get(host=HOST * 2), [400]),
    ("two Hosts, 1.0", get(host=HOST * 2, version=b"HTTP/1.0"), [400]),
    ("two different Hosts", get(host=HOST + b"Host: evil.example\r\n"), [400]),
    ("two Hosts, other case", get(host=HOST + b"hOST: localhost\r\n"), [400]),
    ("empty Host", get(host=b"Host:\r\n"), [400]),
    ("Host with blanks inside", get(host=b"Host: local host\r\n"), [400]),
    ("Host list", get(host=b"Host: localhost, evil.example\r\n"), [400]),
    ("Host with a user", get(host=b"Host: me@localhost\r\n"), [400]),
    ("Host with a path", get(host=b"Host: localhost/livez\r\n"), [400]),
    ("Host with a bad port", get(host=b"Host: localhost:80a\r\n"), [400]),
    ("Host with a port too large", get(host=b"Host: localhost:65536\r\n"), [400]),
    ("Host with the largest port", get(host=b"Host: localhost:65535\r\n"), [200]),
    ("Host with 30 digits of port", get(host=b"Host: localhost:" + b"1" * 30 + b"\r\n"), [400]),
    ("Host of 300 bytes", get(host=b"Host: " + b"a" * 300 + b"\r\n"), [400]),
    ("Host with an empty port", get(host=b"Host: localhost:\r\n"), [200]),
    ("Host with blanks around", get(host=b"Host: \t localhost \t \r\n"), [200]),
    ("Host without a blank", get(host=b"Host:localhost\r\n"), [200]),
    ("foreign Host", get(host=b"Host: evil.example\r\n"), [403]),
    ("1.0 without Host, livez", get(host=b"", version=b"HTTP/1.0"), [200]),
    ("1.0 without Host, readyz", get(host=b"", version=b"HTTP/1.0", target=b"/readyz"), [200]),
    ("1.0 without Host, OPTIONS /livez", get(host=b"", version=b"HTTP/1.0", method=b"OPTIONS"), [204]),
    ("1.0 without Host, OPTIONS /, haproxy's health check",
     get(host=b"", version=b"HTTP/1.0", method=b"OPTIONS", target=b"/"), [204]),
    ("1.0 without Host, a key", get(host=b"", version=b"HTTP/1.0", target=KEY), [400]),
    ("1.0 with a foreign Host", get(host=b"Host: evil.example\r\n", version=b"HTTP/1.0"), [403]),
]

FIELDS = [
    ("no colon", get(b"nonsense\r\n"), [400]),
    ("empty name", get(b": x\r\n"), [400]),
    ("empty name hides a length", put(b": x\r\nContent-Length: 5\r\n", b"hello"), [400]),
    ("blank before the colon", get(b"X : y\r\n"), [400]),
    ("tab before the colon", get(b"X\t: y\r\n"), [400]),
    ("blank before the colon of a length", put(b"Content-Length : 5\r\n", b"hello"), [400]),
    ("blank in a name", get(b"X Y: z\r\n"), [400]),
    ("NUL in a name", get(b"X\x00Y: z\r\n"), [400]),
    ("NUL in a value", get(b"X: y\x00z\r\n"), [400]),
    ("DEL in a value", get(b"X: y\x7fz\r\n"), [400]),
    ("escape in a value", get(b"X: \x1b[31m\r\n"), [400]),
    ("bytes over 127 in a name", get("Ä: y\r\n".encode()), [400]),
    ("bytes over 127 in a value", get("X: ä\r\n".encode()), [200]),
    ("parentheses in a name", get(b"X(): y\r\n"), [400]),
    ("slash in a name", get(b"X/Y: z\r\n"), [400]),
    ("tab in a value", get(b"X:\ta\tb\t\r\n"), [200]),
    ("empty value", get(b"X:\r\n"), [200]),
    ("folded with a blank", get(b"X: a\r\n b\r\n"), [400]),
    ("folded with a tab", get(b"X: a\r\n\tb\r\n"), [400]),
    ("folded first line", b"GET /livez HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n", [400]),
    ("folded line hides a length", put(b"X: a\r\n b\r\nContent-Length: 5\r\n", b"hello"), [400]),
    ("folded length", put(b"Content-Length:\r\n 5\r\n", b"hello"), [400]),
    ("folded line hides a condition", put(b"X: a\r\n b\r\nIf-Match: \"9.9\"\r\nContent-Length: 5\r\n",
                                          b"hello"), [400]),
    ("line of blanks", get(b" \r\n"), [400]),
    ("64 headers and a condition", put(b"X: y\r\n" * 64 + b"If-Match: \"9.9\"\r\nContent-Length: 5\r\n",
                                       b"hello"), [412]),
    ("99 headers and Host", get(b"X: y\r\n" * 99), [200]),
    ("101 headers", get(b"X: y\r\n" * 100), [431]),
    ("1,000 headers", put(b"X: y\r\n" * 1000 + b"Content-Length: 5\r\n", b"hello"), [431]),
    ("head of 15 KiB", get(b"X: " + b"y" * 15000 + b"\r\n"), [200]),
    ("head of 17 KiB", get(b"X: " + b"y" * 17000 + b"\r\n"), [431]),
    ("head of 200 KiB", get((b"X: " + b"y" * 1000 + b"\r\n") * 200), [431]),
    ("two Authorizations", get(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), [400]),
    ("two Origins", get(b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n"), [400]),
    ("head cut off", b"GET /livez HTTP/1.1\r\nHost: loc", [400]),
    ("nothing", b"", []),
]

LENGTHS = [
    ("length", length(b" 5"), [201]),
    ("length without a blank", length(b"5"), [201]),
    ("length with blanks around", length(b" \t5\t "), [201]),
    ("length with leading zeros", length(b" 0005"), [201]),
    ("length 0", length(b" 0", b""), [201]),
    ("no length", put(b""), [201]),
    ("empty length", length(b""), [400]),
    ("length of a blank", length(b" "), [400]),
    ("plus", length(b" +5"), [400]),
    ("minus", length(b" -5"), [400]),
    ("hexadecimal", length(b" 0x5"), [400]),
    ("decimal point", length(b" 5.0"), [400]),
    ("exponent", length(b" 5e0"), [400]),
    ("letters behind", length(b" 5a"), [400]),
    ("blank inside", length(b" 5 5"), [400]),
    ("semicolon", length(b" 5;q=1"), [400]),
    ("quoted", length(b' "5"'), [400]),
    ("list of the same", length(b" 5, 5"), [400]),
    ("list with blanks", length(b" 5 , 5"), [400]),
    ("list of different ones", length(b" 5, 6"), [400]),
    ("comma behind", length(b" 5,"), [400]),
    ("twice the same", put(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), [400]),
    ("twice, different", put(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello"), [400]),
    ("twice, other case", put(b"Content-Length: 0\r\ncontent-length: 5\r\n", b"hello"), [400]),
    ("larger than a value", put(b"Content-Length: 1048577\r\n"), [413]),
    ("2^63", length(b" 9223372036854775808"), [413]),
    ("2^64 + 5", length(b" 18446744073709551621"), [413]),
    ("500 digits", length(b" " + b"1" * 500), [413]),
    ("body cut off", length(b" 50"), [400]),
    ("GET with a body", get(b"Content-Length: 5\r\n") + b"hello" + PROBE, [200, 200]),
    ("DELETE with a body", get(b"Content-Length: 5\r\n", KEY, method=b"DELETE") + b"hello" + PROBE, [404, 200]),
]

ENCODINGS = [
    ("chunked", chunked(b"5\r\nhello\r\n0\r\n\r\n"), [201]),
    ("chunked, two", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), [201]),
    ("chunked, upper case", put(b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n"), [201]),
    ("chunked, leading zeros", chunked(b"00005\r\nhello\r\n000\r\n\r\n"), [201]),
    ("chunked, extension", chunked(b"5;name=value\r\nhello\r\n0;last\r\n\r\n"), [201]),
    ("chunked, quoted extension", chunked(b'5;name="a;b"\r\nhello\r\n0\r\n\r\n'), [201]),
    ("chunked, blanks before an extension", chunked(b"5 ; name=value\r\nhello\r\n0\r\n\r\n"), [201]),
    ("chunked, trailer", chunked(b"5\r\nhello\r\n0\r\nX: y\r\nZ: z\r\n\r\n"), [201]),
    ("chunked, trailer is no header", chunked(b"5\r\nhello\r\n0\r\nIf-Match: \"9.9\"\r\n\r\n"), [201]),
    ("chunked, then another request", chunked(b"5\r\nhello\r\n0\r\n\r\n") + PROBE, [201, 200]),
    ("chunked, trailer, then another", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n") + PROBE, [201, 200]),
    ("chunked, empty size", chunked(b"\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, no digits", chunked(b"zz\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, plus", chunked(b"+5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, minus", chunked(b"-5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, blank before", chunked(b" 5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, blank behind", chunked(b"5 \r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, 17 digits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, 16 digits", chunked(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, LF after the size", chunked(b"5\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, LF after the data", chunked(b"5\r\nhello\n0\r\n\r\n"), [400]),
    ("chunked, CR in the extension", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, NUL in the extension", chunked(b"5;a\x00b\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, too short", chunked(b"5\r\nhell\r\n0\r\n\r\n"), [400]),
    ("chunked, too long", chunked(b"5\r\nhello!\r\n0\r\n\r\n"), [400]),
    ("chunked, endless extension", chunked(b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked, endless extensions", chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 30 + b"0\r\n\r\n"), [400]),
    ("chunked, trailer without a name", chunked(b"5\r\nhello\r\n0\r\n: y\r\n\r\n"), [400]),
    ("chunked, trailer without a colon", chunked(b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), [400]),
    ("chunked, folded trailer", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"), [400]),
    ("chunked, blank before the trailer's colon", chunked(b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"), [400]),
    ("chunked, cut off in a size", chunked(b"5\r\nhello\r\n0"), [400]),
    ("chunked, cut off before the end", chunked(b"5\r\nhello\r\n0\r\n"), [400]),
    ("chunked, no last chunk", chunked(b"5\r\nhello\r\n"), [400]),
    ("chunked and a length", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 5\r\n"), [400]),
    ("a length and chunked", put(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                 b"5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunked and length 0", chunked(b"0\r\n\r\n", b"Content-Length: 0\r\n"), [400]),
    ("chunked and an empty length", chunked(b"0\r\n\r\n", b"Content-Length:\r\n"), [400]),
    ("chunked in 1.0", put(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n",
                           version=b"HTTP/1.0"), [400]),
    *[(f"encoding {text!r}", put(b"Transfer-Encoding:" + text + b"\r\n", b"5\r\nhello\r\n0\r\n\r\n"), [status])
      for text, status in ((b"", 400), (b" identity", 400), (b" gzip", 400), (b" chunked, gzip", 400),
                           (b" chunked, chunked", 400), (b" xchunked", 400), (b" chunked;q=1", 400),
                           (b" 'chunked'", 400), (b" chunk", 400), (b" \tchunked\t ", 201),
                           (b" gzip, chunked", 501), (b" chunked,", 400), (b" ,chunked", 501))],
    ("encoding twice", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"), [400]),
    ("encoding twice, different", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: identity\r\n"), [400]),
    ("blank before the encoding's colon", put(b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
                                              b"hello"), [400]),
]

BODY = b"Content-Length: 5\r\n"
CONTENT = [
    ("Content-Range", put(BODY + b"Content-Range: bytes 0-4/10\r\n", b"hello"), [400]),
    ("Content-Range, nonsense", put(BODY + b"Content-Range: x\r\n", b"hello"), [400]),
    ("Content-Encoding gzip", put(BODY + b"Content-Encoding: gzip\r\n", b"hello"), [415]),
    ("Content-Encoding unknown", put(BODY + b"Content-Encoding: x\r\n", b"hello"), [415]),
    ("Content-Encoding list", put(BODY + b"Content-Encoding: identity, br\r\n", b"hello"), [415]),
    ("Content-Encoding without a body", get(b"Content-Encoding: gzip\r\n"), [200]),
    ("Content-Encoding of a GET's body", get(BODY + b"Content-Encoding: gzip\r\n") + b"hello", [415]),
    ("Content-Range without a body", get(b"Content-Range: bytes 0-4/10\r\n"), [200]),
    ("Content-Encoding identity", put(BODY + b"Content-Encoding: identity\r\n", b"hello"), [201]),
    ("Expect 100-continue, body at once", put(BODY + b"Expect: 100-continue\r\n", b"hello"), [201]),
    ("Expect, no body", put(b"Expect: 100-continue\r\n"), [201]),
    ("Expect, upper case", put(BODY + b"Expect: 100-CONTINUE\r\n", b"hello"), [201]),
    ("Expect, something else", put(BODY + b"Expect: coffee\r\n", b"hello"), [417]),
    ("Expect in 1.0", put(BODY + b"Expect: coffee\r\n", b"hello", version=b"HTTP/1.0"), [201]),
    ("Range", get(b"Range: bytes=0-0\r\n"), [200]),
    ("Range, nonsense", get(b"Range: lines=9-\r\n"), [200]),
    ("If-Range", get(b"Range: bytes=0-0\r\nIf-Range: \"x\"\r\n"), [200]),
    ("If-Modified-Since without a date", get(b"If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT\r\n"), [200]),
    ("If-Unmodified-Since without a date", get(b"If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n"), [200]),
    ("If-Match of a page", get(b"If-Match: \"x\"\r\n", b"/"), [412]),
    ("If-Match * of a page", get(b"If-Match: *\r\n", b"/"), [200]),
    ("If-None-Match * of a page", get(b"If-None-Match: *\r\n", b"/"), [304]),
    ("Upgrade to HTTP/2", get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), [200]),
    ("Upgrade to a web socket", get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"/api/v1/self"), [200]),
]

CONNECTIONS = [
    ("two at once", get() + get(), [200, 200]),
    ("put and get at once", length(b" 5") + get(target=KEY), [201, 200]),
    ("ten at once", get() * 10, [200] * 10),
    ("HEAD, then GET", get(method=b"HEAD") + get(), [200, 200]),
    ("HEAD of a key", length(b" 5") + get(method=b"HEAD", target=KEY) + get(), [201, 200, 200]),
    ("404 keeps the connection", get(target=b"/nothing") + get(), [404, 200]),
    ("Connection: close", get(b"Connection: close\r\n") + get(), [200]),
    ("Connection: Close in a list", get(b"Connection: x, Close\r\n") + get(), [200]),
    ("Connection: close in a second line", get(b"Connection: keep-alive\r\nConnection: close\r\n") + get(), [200]),
    ("1.0 closes", get(version=b"HTTP/1.0") + get(), [200]),
    ("1.0 keep-alive", get(b"Connection: keep-alive\r\n", version=b"HTTP/1.0") + get(), [200, 200]),
    ("1.0 Keep-Alive in a list", get(b"Connection: foo, Keep-Alive\r\n", version=b"HTTP/1.0") + get(), [200, 200]),
    ("empty lines between", get() + b"\r\n\r\n" + get(), [200, 200]),
    ("refused in the middle", get() + get(b"X : y\r\n") + get(), [200, 400]),
    ("a request hidden in a body", length(b" %d" % len(PROBE), PROBE) + get(), [201, 200]),
]

TABLE = (LINES + REQUEST_LINES + TARGETS + HOSTS + FIELDS + LENGTHS + ENCODINGS + CONTENT + CONNECTIONS)


def answers(data, methods):
    """The final answers in `data`: (status, headers, body) each, split by their own lengths."""
    found = []
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        assert blank and re.match(rb"HTTP/1\.1 \d{3} [A-Z]", head), data[:300]
        status = int(head[9:12])
        headers = {name.lower(): value.strip() for name, _, value in
                   (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        size = int(headers.get(b"content-length", 0))
        if status == 100:
            data = rest
            continue
        if methods[len(found):len(found) + 1] == [b"HEAD"] or status in (204, 304):
            size = 0
        found.append((status, headers, rest[:size]))
        assert len(rest) >= size, data[:300]
        data = rest[size:]
    return found


def exchange(port, data):
    """All that comes back for these bytes; the client says that it sends no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        got = b""
        while part := link.recv(65536):
            got += part
        return got


def methods_of(data):
    return re.findall(rb"(GET|HEAD|PUT|POST|OPTIONS|DELETE) [^\r ]+ HTTP/1", data)


def test_table_is_large_enough():
    assert len(TABLE) >= 220 and len({name for name, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize("data, statuses", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_raw(gateway, data, statuses):
    gateway.request("DELETE", KEY.decode())
    refused = bool(statuses) and statuses[-1] in CLOSED
    cut = any(data.endswith(end) for end in (b"loc", b"hello", b"0\r\n", b"\r\n0", b"hello\r\n"))
    got = answers(exchange(gateway.port, data + (PROBE if refused and not cut else b"")), methods_of(data))
    assert [status for status, _, _ in got] == statuses
    for status, headers, body in got:
        assert b"date" in headers
        if status >= 400 and body:
            assert headers[b"content-type"] == b"application/problem+json"
        if headers[b"connection"] == b"keep-alive":
            assert headers[b"keep-alive"].startswith(b"timeout=")
    if refused:
        assert got[-1][1][b"connection"] == b"close"
        assert gateway.value("raw") is None
    elif 201 in statuses and b"hello" in data:
        assert gateway.value("raw") == b"hello"


@pytest.mark.parametrize("data, statuses", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_raw_byte_by_byte(gateway, data, statuses):
    """Pieces of any size give the same answers. (Large ones only at once.)"""
    if len(data) > 700:
        return
    gateway.request("DELETE", KEY.decode())
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            for at in range(len(data)):
                link.sendall(data[at:at + 1])
            link.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, OSError):
            pass  # refused before the end
        try:
            while part := link.recv(65536):
                got += part
        except ConnectionResetError:
            pass
    assert [status for status, _, _ in answers(got, methods_of(data))] == statuses


def test_expect(gateway):
    """Leave to send is given when the body is wanted, and not for one that is refused."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as link:
        link.sendall(put(b"Content-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n"))
        assert link.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(b"hello")
        assert link.recv(65536).startswith(b"HTTP/1.1 20")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as link:
        link.sendall(put(b"Content-Length: 2000000\r\nExpect: 100-continue\r\n"))
        assert link.recv(65536).startswith(b"HTTP/1.1 413")
    gateway.request("DELETE", KEY.decode())


def test_refused_upload_is_answered(gateway):
    """A client that is still sending sees why it is refused, and no broken pipe."""
    for path, status in ((KEY, b"413"), (b"/nothing", b"404"), (b"/api/v1/imports", b"415")):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as link:
            link.sendall(get(b"Content-Type: image/png\r\nContent-Length: 8000000\r\n", path, method=b"PUT" if path == KEY else b"POST"))
            for _ in range(80):
                link.sendall(b"x" * 100000)
            assert link.recv(65536).startswith(b"HTTP/1.1 " + status)
