"""Jobs on workers of a Dask cluster: the same rows, whatever ends meanwhile."""

import os
import re
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from dask_processes import Dask
from waiting import within

from lib import microcosm
from lib.images import Images
from lib.runtime import rows
from lib.runtime.parallel import each
from lib.runtime.rows import Job, collect
from lib.runtime.rules import ParameterError
from lib.zoo import models

pytest.importorskip("distributed")
from lib.runtime import parcels, remote, scheduler, workers

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    made = Dask(tmp_path_factory.mktemp("dask"))
    made.workers = [made.worker(), made.worker()]
    yield made
    scheduler.connected(made.address).client.close()
    scheduler.connected.cache_clear()
    made.close()


@pytest.fixture
def own(tmp_path):
    """A cluster of this test alone, without workers."""
    made = Dask(tmp_path)
    yield made
    scheduler.connected.cache_clear()
    made.close()


class Counted(torch.nn.Linear):
    """A network that leaves a trace of each time it is read."""

    def __init__(self, folder):
        super().__init__(3, 2)
        self.folder = folder

    def __setstate__(self, state):
        super().__setstate__(state)
        (self.folder / f"read-{os.getpid()}-{time.monotonic_ns()}").touch()


def measured(network, value, images, folder):
    """Say numbers that need all their digits, and leave a trace of having been called."""
    (folder / f"{value}-{time.monotonic_ns()}").touch()
    with torch.no_grad():
        logits = network(images[0].x.float().mean((2, 3)) / 255)
    return {
        "value": value,
        "logit": float(logits.sum()) / 3,
        "threads": torch.get_num_threads(),
        "worker": str(os.getpid()),
    }


def jobs(folder, count=12, nets=3):
    torch.manual_seed(0)
    networks, images = [Counted(folder) for _ in range(nets)], microcosm.draw(40, 0)
    return [
        Job(measured, {"value": v, "images": (images, images), "folder": folder}, {"v": v}, (net,))
        for v in range(count)
        for net in networks
    ]


def same(one, two):
    pd.testing.assert_frame_equal(
        one.drop(columns="worker"), two.drop(columns="worker"), check_exact=True
    )


def test_rows_are_those_of_this_machine_and_networks_travel_once(dask, tmp_path):
    scheduler.check(dask.address)
    file = str(tmp_path / "rows.jsonl")
    here = pd.DataFrame([row for job in jobs(tmp_path) for row in job.run()])
    there = collect(jobs(tmp_path), label="there", cluster=dask.address, file=file)
    same(there, here)
    assert set(there["worker"]) == {str(worker.pid) for worker in dask.workers}
    assert set(there["threads"]) == {1}
    # Each of the networks was read once by each worker, though there are a dozen jobs of each.
    assert len(list(tmp_path.glob("read-*"))) <= 2 * 3
    again = collect(jobs(tmp_path), label="again", cluster=dask.address, file=file)
    same(again, there)
    assert len(list(tmp_path.glob("[0-9]*"))) == 2 * 36 and len(rows.read(file)) == 36


def fails(value):
    raise ValueError(f"no {value}")


def noisy(network, n, folder, wait=""):
    """Yield a row for each size; the last waits to be released, or ends its worker."""
    for size in n:
        if size == n[-1] and wait == "wait" and not (folder / "released").exists():
            (folder / f"waiting-{os.getpid()}").touch()
            while not (folder / "released").exists():
                time.sleep(0.05)
        if size == n[-1] and wait == "end":
            os._exit(1)
        yield {"n": size, "logit": float(network.weight.sum()) / size, "worker": str(os.getpid())}


def of_sizes(folder, wait="wait", count=3):
    torch.manual_seed(0)
    call = {"n": [1, 2, 3], "folder": folder, "wait": wait}
    return [Job(noisy, call, {"net": i}, (Counted(folder),), "n") for i in range(count)]


def test_errors_arrive_and_the_cluster_goes_on(dask, tmp_path):
    calls = [{"value": v} for v in range(5)]
    with pytest.raises(ValueError, match=r"^no \d$"):
        each(fails, calls, label="failed", cluster=dask.address)
    with pytest.raises(ValueError, match=r"^no 7 \(source s\)$"):
        collect([Job(fails, {"value": 7}, {"source": "s"})], label="x", cluster=dask.address)
    assert each(round, [{"number": 1.6}] * 3, label="x", cluster=dask.address) == [2, 2, 2]
    assert each(round, [], label="x", cluster=dask.address) == []


def lacks_memory(value, folder, times, kind):
    """Return a value; of the third there is not enough memory so many times."""
    if value == 2 and len(list(folder.iterdir())) < times:
        (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        if kind == "cpu":
            torch.empty(2**62, dtype=torch.uint8)
        raise MemoryError if kind == "python" else torch.cuda.OutOfMemoryError("CUDA: too little")
    return value


@pytest.mark.parametrize("kind", ["cpu", "cuda", "python"])
def test_a_job_that_lacks_memory_is_made_again(dask, tmp_path, kind):
    calls = [{"value": v, "folder": tmp_path, "times": 2, "kind": kind} for v in range(5)]
    assert each(lacks_memory, calls, label="x", cluster=dask.address) == [0, 1, 2, 3, 4]
    tried = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert len(tried) == 2 and set(tried) <= {str(worker.pid) for worker in dask.workers}


class Heavy(Counted):
    """A network for which there is no memory the first two times that it is read."""

    def __setstate__(self, state):
        super().__setstate__(state)
        if len(list(self.folder.iterdir())) <= 2:
            raise MemoryError


def weighed(network, value):
    return value, float(network.weight.detach().sum())


def test_a_network_that_lacks_memory_is_read_again(dask, tmp_path):
    heavy = Heavy(tmp_path)
    calls = [{"network": heavy, "value": v} for v in range(3)]
    expected = [weighed(heavy, v) for v in range(3)]
    assert each(weighed, calls, label="x", cluster=dask.address) == expected


def test_a_job_that_lacks_memory_everywhere_is_one_line(dask, tmp_path):
    call = {"value": 2, "folder": tmp_path, "times": 99, "kind": "cuda"}
    said = r"^cluster: call 1 of 1 has lacked memory 4 times, the last on tcp://\S+ \(CUDA: too"
    with pytest.raises(ParameterError, match=said):
        each(lacks_memory, [call], label="x", cluster=dask.address)
    assert len(list(tmp_path.iterdir())) == remote.TRIES


def test_networks_and_tensors_come_back(dask):
    net, large = Counted(Path(os.devnull)), torch.arange(100_000.0)
    calls = [{"items": [large, net.weight.detach(), i]} for i in range(2)]
    (a, b, zero), (*_, one) = each(tuple_of, calls, label="x", cluster=dask.address)
    assert torch.equal(a, large) and torch.equal(b, net.weight) and (zero, one) == (0, 1)
    (trained,) = each(built, [{"seed": 3}], label="x", cluster=dask.address)
    expected = models.build("small_resnet", 2, seed=3)
    for name, weights in expected.state_dict().items():
        assert torch.equal(trained.state_dict()[name], weights)


def tuple_of(items):
    return tuple(items)


def built(seed):
    return models.build("small_resnet", 2, seed=seed)


def test_a_part_of_a_set_travels_without_the_rest():
    images = microcosm.draw(400, 0)
    few = Images(images.x[:4], images.y[:4], images.classes)
    content = parcels.pack(few)
    assert len(content) < 4 * 3 * 32 * 32 + 5000
    again = parcels.unpack(content)
    assert torch.equal(again.x, few.x) and torch.equal(again.y, few.y)
    content, values = parcels.pack_call(measured, {"a": (few, [few]), "b": {1: images.x}})
    assert len(content) < 1000 and [id(v) for v in values] == [id(few), id(images.x)]
    function, call = parcels.unpack(content, values)
    assert function is measured and call["a"][1][0] is few and call["b"][1] is images.x


@pytest.mark.long
def test_parts_are_kept_as_they_come_though_the_scheduler_ends(own, tmp_path):
    file, caught = tmp_path / "rows.jsonl", []
    own.worker()

    def chapter():
        try:
            collect(of_sizes(tmp_path), label="x", cluster=own.address, file=str(file))
        except ParameterError as error:
            caught.append(error)

    thread = threading.Thread(target=chapter)
    thread.start()
    assert within(120, lambda: file.exists() and len(rows.read(file)) == 2)
    assert list(tmp_path.glob("waiting-*"))
    own.scheduler.kill()
    thread.join(60)
    assert re.match(r"cluster: the scheduler tcp://\S+ has ended.*are kept$", str(caught[0]))
    assert list(rows.read(file)["n"]) == [1, 2] and not thread.is_alive()


@pytest.mark.long
def test_a_worker_that_is_killed_costs_what_it_has_in_hands(own, tmp_path):
    file, found = tmp_path / "rows.jsonl", []
    first = own.worker()

    def chapter():
        found.append(collect(of_sizes(tmp_path), label="x", cluster=own.address, file=str(file)))

    thread = threading.Thread(target=chapter)
    thread.start()
    assert within(120, lambda: file.exists() and len(rows.read(file)) == 2)
    first.kill()  # whose networks are gone with it
    second = own.worker()
    (tmp_path / "released").touch()
    thread.join(120)
    same(found[0], collect(of_sizes(tmp_path), label="here"))
    kept = rows.read(file)
    assert len(kept) == 9 and set(kept["worker"]) == {str(first.pid), str(second.pid)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PYTHONPATH": "other"}, r"has code of lib \w+, and this process \w+; give both the same"),
        ({"PYTHONPATH": "none"}, r"cannot import this code \(.*not here"),
    ],
)
def test_workers_of_other_code_are_refused_by_name(own, tmp_path, environment, said):
    (tmp_path / "other" / "lib").mkdir(parents=True)
    for name in ("lib", "lib/runtime"):
        for path in (ROOT / name).iterdir():
            there = tmp_path / "other" / path.relative_to(ROOT)
            if path.is_file():
                there.parent.mkdir(exist_ok=True)
                there.write_text(path.read_text() + "# edited\n")
    (tmp_path / "none" / "lib").mkdir(parents=True)
    (tmp_path / "none" / "lib" / "__init__.py").write_text("raise ImportError('not here')")
    own.worker(PYTHONPATH=str(tmp_path / environment["PYTHONPATH"]))
    for use in (scheduler.check, lambda at: each(round, [{"number": 1.6}], label="x", cluster=at)):
        with pytest.raises(ParameterError, match=rf"^cluster: the worker tcp://\S+ {said}"):
            use(own.address)


def test_what_differs_is_named():
    ours = workers.about()
    assert workers.difference(ours, dict(ours)) == ""
    said = workers.difference(ours, ours | {"torch": "2.3.0"})
    assert said == f"has torch 2.3.0, and this process {ours['torch']}; give both the same"
    assert "has python 3.9" in workers.difference(ours, ours | {"python": "3.9"})
    assert "has numpy None" in workers.difference(ours, {k: ours[k] for k in ours if k != "numpy"})


@pytest.mark.long
def test_a_worker_of_several_threads_is_refused(own):
    own.worker(threads=2)
    with pytest.raises(ParameterError, match=r"has 2 threads; start it with --nthreads 1$"):
        each(round, [{"number": 1.6}], label="x", cluster=own.address)


def test_a_scheduler_that_does_not_answer_is_one_line_at_once(monkeypatch):
    import dask

    assert scheduler.SECONDS <= 5
    monkeypatch.setattr(scheduler, "SECONDS", 0.2)
    patient = {"distributed.comm.timeouts.connect": "1 day"}
    for address in ("tcp://127.0.0.1:9", "nonsense://x:1"):
        said = f"^cluster: no scheduler answers at {address}"
        with dask.config.set(patient), pytest.raises(ParameterError, match=said):
            each(round, [{"number": 1.6}], label="x", cluster=address)
        with pytest.raises(ParameterError, match=said):
            scheduler.check(address)


def test_a_scheduler_without_workers_is_one_line_that_says_how_to_start_one(own, monkeypatch):
    monkeypatch.setattr(scheduler, "SECONDS", 1)
    said = f"^cluster: the scheduler {own.address} has no worker; start one with `dask worker tcp:"
    with pytest.raises(ParameterError, match=said) as error:
        scheduler.check(own.address)
    assert len(str(error.value).splitlines()) == 1
    own.scheduler.kill()
    own.scheduler.wait()
    with pytest.raises(ParameterError, match=r"^cluster: the scheduler tcp://\S+ has ended"):
        scheduler.check(own.address)


@pytest.mark.parametrize(
    ("file", "said"),
    [(None, "Dask's configuration names none"), ("/no/such.pem", "No such file")],
)
def test_an_address_that_asks_for_certificates_needs_some(file, said):
    import dask

    names = {f"distributed.comm.tls.{name}": file for name in ("ca-file", "client.cert")}
    with dask.config.set(names), pytest.raises(ParameterError) as error:
        scheduler.Cluster("tls://127.0.0.1:9")
    assert "tls://127.0.0.1:9 asks for certificates" in str(error.value)
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1


def test_without_distributed_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ParameterError, match=r"^cluster: .*pip install -r requirements-cluster"):
        each(round, [{"number": 1.6}], label="x", cluster="tcp://127.0.0.1:10")
    with pytest.raises(ParameterError, match=r"^cluster: .*pip install -r requirements-cluster"):
        scheduler.check("tcp://127.0.0.1:10")


@pytest.mark.long
def test_a_job_that_ends_one_worker_after_another_is_one_line(own, tmp_path):
    options = ["--nthreads", "1", "--no-dashboard"]
    own.start("worker", own.address, *options, said="Registered to")  # started again by its nanny
    with pytest.raises(ParameterError, match=r"call 1 of 1 has ended 4 workers, the last"):
        collect(of_sizes(tmp_path, "end", 1), label="x", cluster=own.address)


def test_the_settings_of_the_book_are_taken_by_a_worker(own):
    options = ["--nthreads", "1", "--no-dashboard"]
    settings = {"DASK_CONFIG": str(ROOT / "data" / "cluster.yaml"), "said": "Registered to"}
    nanny, _ = own.start("worker", own.address, *options, **settings)
    found = scheduler.connected(own.address).client.run(settings_there)
    nanny.terminate()  # and with it the worker
    nanny.wait()
    assert list(found.values()) == [(False, "33554432")]


def settings_there():
    """Tell of a worker what `data/cluster.yaml` decides."""
    import dask

    profile = dask.config.get("distributed.worker.profile.enabled")
    return profile, os.environ.get("MALLOC_MMAP_THRESHOLD_")
