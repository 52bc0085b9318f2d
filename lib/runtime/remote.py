"""Calls on the workers of a Dask cluster: what many need is sent once, what they find comes back.

`distributed` is optional: requirements-cluster.txt. Workers are started with one thread each, and
need this book's code, but no disk that they share with this process.
"""

import contextlib
import hashlib
import logging
import queue
import time
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch

from lib.runtime.parcels import Parcel, pack, pack_call
from lib.runtime.rules import ParameterError
from lib.runtime.workers import about, about_there, difference, perform

SECONDS = 5
"""How long a scheduler may take to answer, and its first worker to come."""
AHEAD = 2
"""Jobs that a worker has in its hands: one to make, one to go on with."""
TRIES = 4
"""How often a job is made that lacks memory; as often as Dask makes one whose workers end."""


def run(
    address: str,
    function: Callable,
    calls: Sequence[Mapping],
    *,
    device: str | torch.device = "auto",
    take: Callable[[int, int, Any], object] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Make each call on a worker; yield its number and what it returned, as soon as it is there.

    Networks, Images and large tensors travel once to each worker, wherever they are in the calls:
    networks to the device, which "auto" lets each worker choose, the others to the CPU. On a CPU a
    job computes in one thread. What a function yields is told at once, to take(number of the call,
    number of the part, part), where it is text; a part may come twice.

    address: of a running scheduler, as tcp://HOST:PORT. function: importable from a module.

    Raises as the function does, and ParameterError, in one line: where distributed is not
    installed, the scheduler does not answer or ends, a worker has other code or versions or several
    threads, or a job ends one worker after another, or lacks memory on each. The jobs of a worker
    that ends are made again, as are those that lack memory, elsewhere where Dask sees fit.
    """
    with _connection(address) as cluster:
        cluster.check()
        if calls:
            yield from _Run(cluster, function, calls, str(device), take).results()


def check(address: str) -> None:
    """Raise ParameterError where `run` will before its first job, or has no worker within SECONDS.

    address: of a scheduler, as tcp://HOST:PORT.
    """
    with _connection(address) as cluster:
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


class _Cluster:
    """A connection to a scheduler, and what was sent over it."""

    def __init__(self, address):
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

    def wait(self):
        """Raise ParameterError where no worker comes."""
        end = time.monotonic() + SECONDS
        while not self.client.nthreads():
            if time.monotonic() > end:
                raise ParameterError(
                    f"cluster: the scheduler {self.address} has no worker; start one with "
                    f"`dask worker {self.address} --nthreads 1`"
                )
            time.sleep(0.1)

    def check(self):
        """Raise ParameterError where a worker differs from this process, or has several threads."""
        found = self.client.run(about_there, on_error="return")
        for worker, theirs in found.items():
            if isinstance(theirs, OSError):
                continue  # it has ended, and the scheduler will notice
            if isinstance(theirs, BaseException):
                theirs = f"cannot import this code ({' '.join(str(theirs).split())})"
            fault = theirs if isinstance(theirs, str) else difference(about(), theirs)
            if fault:
                raise ParameterError(f"cluster: the worker {worker} {fault}")

    def send(self, value, device):
        """Return the future of a value on the workers; of equal ones there is one."""
        content = pack(value)
        key = f"sent-{hashlib.sha256(content).hexdigest()[:24]}-{device}"
        if key not in self.sent:  # as a task, so that it is there again where its worker ends
            self.sent[key] = self.client.submit(Parcel.unpacked, content, device, key=key)
        return self.sent[key]

    def stands(self):
        """Tell whether the connection has not ended, of which it takes a moment to know."""
        time.sleep(1)
        return self.client.status == "running"

    def lost(self):
        """Return what to raise where the scheduler has ended."""
        _connected.cache_clear()
        return ParameterError(
            f"cluster: the scheduler {self.address} has ended, or cannot be reached any more; "
            "start one and run this again: of rows_file, the rows that it has are kept"
        )


@cache
def _connected(address):
    return _Cluster(address)


@contextlib.contextmanager
def _connection(address):
    """Give the cluster of an address; where its scheduler ends meanwhile, say so in one line."""
    cluster = _connected(address)
    try:
        yield cluster
    except ParameterError:
        raise
    except Exception:  # of many kinds, where the connection ends in the middle of something
        if cluster.stands():
            raise
        raise cluster.lost() from None


class _Run:
    """The calls of one function: which are to be made, in whose hands they are."""

    def __init__(self, cluster, function, calls, device, take):
        self.cluster, self.client = cluster, cluster.client
        self.function, self.calls, self.device, self.take = function, calls, device, take
        self.name, self.events = uuid.uuid4().hex, queue.SimpleQueue()
        self.left, self.hands, self.sent = list(range(len(calls)))[::-1], {}, {}
        self.workers, self.asked = {}, 0.0
        self.lacking = defaultdict(list)  # on which workers a call has lacked memory

    def results(self):
        """Yield (number, result) of each call."""
        if self.take:
            self.client.subscribe_topic(self.name, lambda event: self.events.put(event[1]))
        try:
            while self.left or self.hands:
                self._hand_out()
                try:
                    number, part, found = self.events.get(timeout=1)
                except queue.Empty:
                    if self.client.status != "running":
                        raise ConnectionError from None
                    continue
                if part is not None:
                    self.take(number, part, found)
                elif number in self.hands and not self._again(number):
                    yield number, self._result(number)
        finally:
            if self.client.status == "running":
                self.client.cancel([future for future, _ in self.hands.values()], force=True)
                if self.take:
                    self.client.unsubscribe_topic(self.name)

    def _hand_out(self):
        """Give the workers jobs, while one has fewer than AHEAD, to the least busy first."""
        if time.monotonic() > self.asked + 1:  # workers come and go
            self.workers = self.client.nthreads()
            self.asked = time.monotonic()
        busy = Counter(worker for _, worker in self.hands.values())
        while self.left and self.workers:
            lacking = self.lacking[self.left[-1]]
            worker = min(self.workers, key=lambda name: (lacking.count(name), busy[name]))
            if busy[worker] >= AHEAD:
                return
            busy[worker] += 1
            self._submit(self.left.pop(), worker)

    def _submit(self, number, worker):
        content, values = pack_call(self.function, self.calls[number])
        for value in values:
            if id(value) not in self.sent:  # with the value: while it lives nothing has its id
                self.sent[id(value)] = value, self.cluster.send(value, self.device)
        sent = [self.sent[id(value)][1] for value in values]
        job = (content, self.device, about(), self.name if self.take else "", number, *sent)
        where = {"workers": [worker], "allow_other_workers": True}
        key = f"job-{self.name}-{number}-{len(self.lacking[number])}"
        future = self.client.submit(perform, *job, key=key, **where)
        self.hands[number] = future, worker
        future.add_done_callback(lambda _: self.events.put((number, None, None)))

    def _again(self, number):
        """Tell whether a call has lacked memory and is to be made again, after all the others."""
        future, worker = self.hands[number]
        if future.status != "error" or not _lacks_memory(error := future.exception()):
            return False
        self.lacking[number].append(worker)
        if len(self.lacking[number]) == TRIES:
            raise ParameterError(
                f"cluster: call {number + 1} of {len(self.calls)} has lacked memory {TRIES} times, "
                f"the last on {worker} ({' '.join(str(error).split())[:200]}); give workers more"
            )
        del self.hands[number]
        self.left.insert(0, number)
        return True

    def _result(self, number):
        """Return what a call has returned, or raise what it has raised."""
        from distributed import KilledWorker

        future, _ = self.hands.pop(number)
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            raise ParameterError(
                f"cluster: call {number + 1} of {len(self.calls)} has ended "
                f"{error.allowed_failures + 1} workers, the last of them "
                f"{error.last_worker.address}; their log says why, often too little memory"
            )
        if error is not None:
            raise error
        found = future.result().value
        if self.take:
            for part, told in enumerate(found):
                self.take(number, part, told)
        return found


def _lacks_memory(error):
    """Tell whether that is what an error says, of a CPU or a GPU."""
    kinds = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
