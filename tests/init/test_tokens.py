# SPDX-License-Identifier: MIT
"""API_TOKEN_FILE as init.py reads it; that the gateway refuses the same files in the same words is held
by tests/system/test_doors.py."""

import http.server
import threading

import pytest
from launcher import ringview, tokens

READER, OPERATOR = "C0x7mZ1rTq9LwYb2", "Zp8Rw5uGc2MfEa7i"


@pytest.mark.parametrize("text, roles", [
    (READER, ["operator"]), (f"{READER}\r\n\n# alone\n", ["operator"]), ("a secret of some length\n", ["operator"]),
    (f"# x\n reader\t{READER}  grafana\noperator {OPERATOR}", ["reader", "operator"]),
])
def test_good_files(text, roles):
    assert [token.role for token in tokens.parse(text.encode())] == roles


@pytest.mark.parametrize("text, token", [
    (f"reader {READER}\noperator {OPERATOR}\n", OPERATOR), (f"reader {READER}\n", READER), (f"{READER}\n", READER),
    ("reader short\n", None), (None, None),
])
def test_requests_carry_the_token_that_may_do_most(tmp_path, text, token):
    """Reads too: where others can reach the gateway they need one."""
    path, heard = tmp_path / "tokens", []
    if text is not None:
        path.write_text(text)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert ringview.Api("127.0.0.1", server.server_port, path).ready()
        thread.join()
    assert heard == [token and f"Bearer {token}"]
