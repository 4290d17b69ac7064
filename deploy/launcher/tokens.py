# SPDX-License-Identifier: MIT
"""The tokens of API_TOKEN_FILE and their roles, read by the gateway's rules (gateway/tokens.c): one token
alone, which is an operator's, or lines of `role token [name]`, with # before comments."""

import re
from dataclasses import dataclass

ROLES = ("reader", "writer", "operator")  # each may do what those before it may
BYTES_MIN, BYTES_MAX = 16, 256
FILE_BYTES_MAX = 32 * 1024
TOKENS_MAX = 64
DIFFERENT_MIN = 8  # characters of a secret
NAME = re.compile(rb"[A-Za-z0-9._@-]{1,32}")
BLANKS = b" \t"


@dataclass(frozen=True)
class Token:
    role: str
    text: bytes
    line: int


def is_weak(secret):
    """What a person types to be done with it."""
    repeated = any(secret.startswith(secret[period:]) for period in range(1, len(secret) // 2 + 1))
    return repeated or len(set(secret)) < DIFFERENT_MIN


def words_of(line):
    return [word for word in re.split(rb"[ \t]+", line) if word]


def role_of(word):
    return next((role for role in ROLES if role.encode() == word), None)


def is_bare(line):
    """A token alone is the whole first line, blanks and all. What looks like a line of the other form
    with a mistyped role is none."""
    words = words_of(line)
    if not words or line.startswith(b"#"):
        return False
    looks_like_role = len(words) in (2, 3) and len(words[1]) >= BYTES_MIN
    return (len(words) == 1 or role_of(words[0]) is None) and not looks_like_role


def check(token, before):
    """Raises ValueError with a sentence that does not show the token."""
    text, size = token.text, len(token.text)
    if not BYTES_MIN <= size <= BYTES_MAX:
        raise ValueError(f"line {token.line}: the token is too {'short' if size < BYTES_MIN else 'long'}: "
                         f"it has {size} bytes, not {BYTES_MIN} to {BYTES_MAX}")
    if any(byte < 0x20 or byte == 0x7f for byte in text):
        raise ValueError(f"line {token.line}: the token has a control character")
    if is_weak(text):
        raise ValueError(f"line {token.line}: the token can be guessed (few different characters, or a "
                         "text repeated): make one by head -c 32 /dev/urandom | base64")
    if len(before) == TOKENS_MAX:
        raise ValueError(f"line {token.line}: more than {TOKENS_MAX} tokens")
    for other in before:
        if other.text == text:
            raise ValueError(f"line {token.line}: the same token as in line {other.line}")


def read_line(number, line):
    words = words_of(line)
    role = role_of(words[0])
    if role is None:
        raise ValueError(f"line {number}: its first word is no role (reader, writer or operator)")
    if len(words) not in (2, 3):
        raise ValueError(f"line {number}: it must be a role, a token and, if wished, a name without "
                         "blanks")
    if len(words) == 3 and not NAME.fullmatch(words[2]):
        raise ValueError(f"line {number}: the name must have at most 32 of A-Z a-z 0-9 . _ @ -")
    return Token(role, words[1], number)


def parse(data):
    """The tokens of a file's bytes; raises ValueError with a sentence that names the line."""
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"it is longer than {FILE_BYTES_MAX} bytes")
    found, bare = [], False
    for number, line in enumerate(data.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        content = line.lstrip(BLANKS)
        if number == 1 and is_bare(line):
            bare, token = True, Token("operator", line, 1)
        elif not content or content.startswith(b"#"):
            continue
        elif bare:
            raise ValueError(f"line {number}: a file whose first line is a token alone has nothing "
                             "more; write each line as: role token [name]")
        else:
            token = read_line(number, line)
        check(token, found)
        found.append(token)
    if not found:
        raise ValueError("no token is in it; write lines of: role token [name]")
    return found


def most_allowed(path):
    """The token of a file that may do most, for init.py's own requests; None when there is none."""
    try:
        return max(parse(path.read_bytes()), key=lambda token: ROLES.index(token.role)).text.decode("latin-1")
    except (OSError, ValueError):
        return None
