# SPDX-License-Identifier: MIT
"""The terminal while a table is shown on it: typed keys are not echoed into the picture, and are
thrown away afterwards. Ctrl-C and Ctrl-Z keep their meaning."""

import signal
import sys
import termios


class Terminal:
    def __init__(self):
        self.before = None

    def quiet(self):
        try:
            self.before = termios.tcgetattr(sys.stdin)
            now = termios.tcgetattr(sys.stdin)
            now[3] &= ~(termios.ECHO | termios.ICANON)
            self.apply(now)
        except (termios.error, OSError, ValueError):
            self.before = None  # the input is no terminal

    def restore(self):
        if self.before is not None:
            try:
                self.apply(self.before)
            except (termios.error, OSError, ValueError):
                pass
            self.before = None

    @staticmethod
    def apply(attributes):
        # A process in the background that changes the terminal would be stopped.
        old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, attributes)
        finally:
            signal.signal(signal.SIGTTOU, old)
