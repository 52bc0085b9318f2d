"""Calls on the workers of a Dask cluster: what many need is sent once, what they find comes back.

`distributed` is optional: requirements-cluster.txt. Workers are started with one thread each, and
need this book's code, but no disk that they share with this process.
"""

import queue
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from lib.runtime.parcels import pack_call
from lib.runtime.rules import ParameterError
from lib.runtime.scheduler import connection
from lib.runtime.workers import about, perform

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
    with connection(address) as cluster:
        cluster.check()
        if calls:
            yield from _Run(cluster, function, calls, str(device), take).results()


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
            _, future = self.sent.get(id(value), (value, None))
            if future is None or future.status == "error":
                # With the value: while it lives nothing has its id.
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
