"""A database server as a process: ``python -m tests.support.serve FILE SOCKET ...``"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from motoko.store.address import Address, Served
from motoko.store.server import serve


def main() -> None:
    arguments = [Path(argument) for argument in sys.argv[1:]]
    files, sockets = arguments[::2], arguments[1::2]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    served = [Served(f, Address(s)) for f, s in zip(files, sockets, strict=True)]
    serve(served, stop, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
