"""A process that ends with the one that started it, also where that one is killed."""

import os
import threading
import time


def end_with(parent: int) -> None:
    """Watch the process that started this one, and end this one within a second of it.

    parent: its number, which it has to tell itself: if it is killed before this process can ask,
    another has taken its place.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
