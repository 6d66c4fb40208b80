# SPDX-License-Identifier: Apache-2.0
"""Builds the package (PEP 517 and 660) with the standard library only, so that it installs without a network."""

import base64
import hashlib
import io
import os
import tarfile
import zipfile

NAME, VERSION = "switchboard_ipc", "0.1.0"
HERE = os.path.dirname(os.path.abspath(__file__))
INFO = "%s-%s.dist-info" % (NAME, VERSION)
METADATA = """Metadata-Version: 2.1
Name: switchboard-ipc
Version: %s
Summary: Connects programs on one machine by name, and shares frames between them in memory
License: Apache-2.0
Requires-Python: >=3.9
""" % VERSION
WHEEL = "Wheel-Version: 1.0\nGenerator: switchboard\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _sources():
    for folder, folders, files in os.walk(os.path.join(HERE, "switchboard")):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, HERE), path


def _wheel(folder, contents):
    name = "%s-%s-py3-none-any.whl" % (NAME, VERSION)
    contents += [(INFO + "/METADATA", METADATA.encode()), (INFO + "/WHEEL", WHEEL.encode())]
    record = ""
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in contents:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\n" % (path, digest, len(data))
            z.writestr(path, data)
        z.writestr(INFO + "/RECORD", record + INFO + "/RECORD,,\n")
    return name


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, [(name, _read(path)) for name, path in _sources()])


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, [("__editable__.%s.pth" % NAME, (HERE + "\n").encode())])


def build_sdist(sdist_directory, config_settings=None):
    name = "%s-%s" % (NAME, VERSION)
    with tarfile.open(os.path.join(sdist_directory, name + ".tar.gz"), "w:gz") as tar:
        for path in ["pyproject.toml", "backend.py"] + [p for p, _ in _sources()]:
            tar.add(os.path.join(HERE, path), name + "/" + path)
        info = tarfile.TarInfo(name + "/PKG-INFO")
        info.size = len(METADATA)
        tar.addfile(info, io.BytesIO(METADATA.encode()))
    return name + ".tar.gz"
