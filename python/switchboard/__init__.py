# SPDX-License-Identifier: Apache-2.0
"""Switchboard connects programs on one machine by name.

    sock = switchboard.dial("com.example.up")               # a connected Unix socket
    for caller in switchboard.listen("com.example.up"):     # one for each who calls
        ...
    who = switchboard.look_up("com.example.up")             # an Entry: pid, executable, version and so on
    for event in switchboard.watch("com.example.*"):        # names that appear and go
        ...

switchboard.frames: video frames and tensors in shared memory, by name. switchboard.parent(): the same with the process that started this
one, without names. What is refused is a SwitchboardError, an OSError with a code.

Names are kept by a broker, one for each user; if none runs, dial, listen and the others start it by the program `switchboard`, unless
SWITCHBOARD_AUTOSTART=0. runtime_dir() is the folder of its sockets, which SWITCHBOARD_RUNTIME_DIR chooses. Python 3.9 or newer, Linux,
and nothing but the standard library.
"""

from ._broker import SwitchboardError, dial, runtime_dir
from ._link import Link, parent
from ._listener import Listener, listen
from ._session import Entry, Event, look_up, watch

__all__ = ["dial", "listen", "look_up", "watch", "parent", "frames", "Link", "Listener", "Entry", "Event", "SwitchboardError", "runtime_dir"]
__version__ = "0.1.0"


def __dir__():
    return sorted({*globals(), "frames"})


def __getattr__(name):
    if name == "frames":  # Linux only, and ctypes: not for who only dials
        import importlib

        return importlib.import_module(".frames", __name__)
    raise AttributeError(name)
