# SPDX-License-Identifier: Apache-2.0
"""Switchboard connects programs on one machine by name.

    sock = switchboard.dial("com.example.up")
    for caller in switchboard.listen("com.example.up"): ...

frames: pictures and tensors in shared memory. parent(): channels of frames with the process that started this one.
"""

from ._broker import SwitchboardError, dial, runtime_dir
from ._link import Link, parent
from ._listener import Listener, listen
from ._session import Entry, Event, look_up, watch

__all__ = ["dial", "listen", "look_up", "watch", "parent", "frames", "Link", "Listener", "Entry", "Event", "SwitchboardError", "runtime_dir"]
__version__ = "0.1.0"


def __getattr__(name):
    if name == "frames":  # Linux only, and ctypes: not for who only dials
        import importlib

        return importlib.import_module(".frames", __name__)
    raise AttributeError(name)
