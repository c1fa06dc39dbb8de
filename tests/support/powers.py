"""Being without root's powers over files, which tests may have and users have not."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

#: What `setpriv` takes from a command and all that it starts.
WITHOUT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
_VERSION = 0x20080522
_POWERS = 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


@contextmanager
def without_powers() -> Iterator[None]:
    """Inside the block modes of files hold for this thread, whoever it is."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _VERSION, 0)
    before = ctypes.create_string_buffer(24)
    assert libc.capget(header, before) == 0, ctypes.get_errno()
    effective, *rest = struct.unpack("6I", before.raw)
    assert libc.capset(header, struct.pack("6I", effective & ~_POWERS, *rest)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before.raw) == 0
