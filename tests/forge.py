"""Writing files that torch.save would not write."""

import pickle

import torch


class Named:
    """Pickles as the name of any global, whether it is there or not."""

    def __init__(self, name):
        self.module, _, self.name = name.partition(":")

    def __call__(self):
        raise AssertionError


class Calls:
    """Pickles as a call, and what is then done to its result; it can be called in turn."""

    def __init__(self, function, *args, **then):
        function = Named(function) if isinstance(function, str) else function
        self.function, self.args, self.then = function, args, then

    def __reduce__(self):
        items, entries = self.then.get("items"), self.then.get("entries")
        return (
            self.function, self.args, self.then.get("state"),
            items and iter(items), entries and iter(entries),
        )  # fmt: skip

    def __call__(self):
        raise AssertionError


class Pickler(pickle._Pickler):
    """Pickle's own, in Python, which lets names be written that are not there."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_named(self, named):
        if self.proto >= 4:
            self.save(named.module)
            self.save(named.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{named.module}\n{named.name}\n".encode())

    dispatch[Named] = save_named


class Dialect:
    """What torch.save asks of a pickle module."""

    Pickler = Pickler

    @staticmethod
    def dump(value, file, protocol):
        Pickler(file, protocol).dump(value)


def write(path, content, new=True, protocol=2):
    torch.save(
        content, path, pickle_module=Dialect, pickle_protocol=protocol,
        _use_new_zipfile_serialization=new,
    )  # fmt: skip
    return path
