# SPDX-License-Identifier: MIT
"""The parts of init.py: one module for each concern. init.py is their front door."""
