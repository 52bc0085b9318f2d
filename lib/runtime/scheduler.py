"""The connection to a Dask scheduler: its workers must be as this process; what is sent to them."""

import contextlib
import hashlib
import logging
import time
import uuid
import warnings
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from lib.runtime.parcels import Parcel, pack
from lib.runtime.rules import ParameterError
from lib.runtime.workers import about, about_worker, difference

if TYPE_CHECKING:
    from distributed import Future

SECONDS = 5
"""How long a scheduler may take to answer, and its first worker to come."""


class Cluster:
    """A connection to a scheduler, and what was sent over it."""

    def __init__(self, address: str):
        try:
            import dask
            import distributed
        except ImportError:
            raise ParameterError(
                "cluster: a cluster needs distributed; pip install -r requirements-cluster.txt"
            ) from None
        if address.startswith("tls:") and not dask.config.get("distributed.client.security-loader"):
            _check_certificates(address, distributed.Security())
        # What goes wrong is said in one line, by what is raised.
        for name in ("distributed", *logging.root.manager.loggerDict):
            if name.startswith("distributed"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise ParameterError(
                    f"cluster: no scheduler answers at {address} ({reason}); start one with "
                    "`dask scheduler`, whose first lines say its address"
                ) from None
        self.client.amm.stop()  # it takes away what no job waits for just now, and it travels again
        self.address, self.sent = address, {}

    def wait(self) -> None:
        """Raise ParameterError where no worker comes."""
        end = time.monotonic() + SECONDS
        while not self.client.nthreads():
            if time.monotonic() > end:
                raise ParameterError(
                    f"cluster: the scheduler {self.address} has no worker; start one with "
                    f"`dask worker {self.address} --nthreads 1`"
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Raise ParameterError where a worker differs from this process, or has several threads."""
        found = self.client.run(about_worker, on_error="return")
        for worker, theirs in found.items():
            if isinstance(theirs, OSError):
                continue  # it has ended, and the scheduler will notice
            if isinstance(theirs, BaseException):
                theirs = f"cannot import this code ({' '.join(str(theirs).split())})"
            fault = theirs if isinstance(theirs, str) else difference(about(), theirs)
            if fault:
                raise ParameterError(f"cluster: the worker {worker} {fault}")

    def send(self, value: object, device: str) -> "Future":
        """Return the future of a value on the workers; of equal ones there is one."""
        content = pack(value)
        key = f"sent-{hashlib.sha256(content).hexdigest()[:24]}-{device}"
        found = self.sent.get(key)
        if found is None or found.status == "error":  # a name that has failed fails again
            name = key if found is None else f"{key}-{uuid.uuid4().hex}"
            # As a task, so that it is there again where its worker ends.
            found = self.client.submit(Parcel.unpacked, content, device, key=name)
        self.sent[key] = found
        return found


@cache
def connected(address: str) -> Cluster:
    """Return the cluster of an address, the same one as long as its scheduler stands."""
    return Cluster(address)


@contextlib.contextmanager
def connection(address: str) -> Iterator[Cluster]:
    """Give the cluster of an address; where its scheduler ends meanwhile, say so in one line."""
    cluster = connected(address)
    try:
        yield cluster
    except ParameterError:
        raise
    except Exception:  # of many kinds, where the connection ends in the middle of something
        time.sleep(1)  # so long it may take to know that a connection has ended
        if cluster.client.status == "running":
            raise
        connected.cache_clear()
        raise ParameterError(
            f"cluster: the scheduler {address} has ended, or cannot be reached any more; "
            "start one and run this again: of rows_file, the rows that it has are kept"
        ) from None


def check(address: str) -> None:
    """Raise ParameterError where `remote.run` will before its first job, or no worker comes.

    address: of a scheduler, as tcp://HOST:PORT.
    """
    with connection(address) as cluster:
        cluster.wait()
        cluster.check()


def _check_certificates(address, security):
    """Raise ParameterError where an address asks for certificates and Dask finds none."""
    try:
        found = security.get_connection_args("client")["ssl_context"]
        reason = "Dask's configuration names none"
    except OSError as error:
        found, reason = None, str(error)
    if found is None:  # a client without them fails later, and in many lines
        raise ParameterError(
            f"cluster: {address} asks for certificates ({reason}); see distributed.comm.tls in "
            "Dask's documentation"
        )
