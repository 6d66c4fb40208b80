# SPDX-License-Identifier: Apache-2.0
"""Answers each frame of the parent with one of its own: frames_echo.py spinning|sleeping|event"""

import sys

import switchboard

way = {"spinning": {"wake": "futex", "spin": 0.01}, "sleeping": {"wake": "futex"}, "event": {"wake": "event"}}[sys.argv[1]]
link = switchboard.parent()
source = link.open("in", **way)
out = link.create("out", switchboard.frames.Format.bytes(64))
for frame in source:
    frame.release()
    out.loan().publish()
