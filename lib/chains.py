"""Finding the chain in a network of unknown code: the modules that hand one tensor on."""

from dataclasses import dataclass, field

import torch


@dataclass
class Call:
    """One call of a module: its name, the tensor that came in, the one that went out, its calls."""

    name: str
    came: tuple | None
    went: tuple | None = None
    inside: list = field(default_factory=list)

    def names(self):
        """List the names of all modules called within, this one first."""
        return [self.name, *(name for call in self.inside for name in call.names())]


@torch.no_grad()
def trace(module, function, x):
    """Record which submodules a function of a module calls, and what they hand on.

    module: nn.Module. function: maps x to a tensor by way of the module's submodules.

    Returns the Call of the function itself, named "", with those of the submodules inside.
    """
    root = Call("", _state(x))
    stack, alive = [root], []  # the tensors live on, so that no identity is given twice

    def enter(name):
        def before(module, args, kwargs):
            alive.append(args)
            # Called with anything besides, a module is no function of the one tensor.
            alone = len(args) == 1 and all(value is None for value in kwargs.values())
            call = Call(name, _state(args[0]) if alone else None)
            stack[-1].inside.append(call)
            stack.append(call)

        return before

    def leave(module, args, output):
        alive.append(output)
        stack.pop().went = _state(output)

    handles = []
    for name, child in module.named_modules():
        if name:
            handles.append(child.register_forward_pre_hook(enter(name), with_kwargs=True))
            handles.append(child.register_forward_hook(leave))
    try:
        output = function(x)
    finally:
        for handle in handles:
            handle.remove()
    alive.append(output)
    root.went = _state(output)
    return root


def links(root):
    """List the calls that make up the end of a trace: each maps the last one's output to its own.

    Nothing but these calls lies between the input of the first and the function's output, so
    that the output depends on what came before by that one tensor alone.
    """
    found, goal = [], root.went
    for call in reversed(root.inside):
        if goal is None or call.went != goal:
            break
        found = [*_inner(call), *found]
        goal = call.came
    return found[1:] if found and found[0].came is None else found


def _inner(call):
    """List the calls inside one, where they hand on its input until its output; else itself."""
    ends = [call.came, *(inner.went for inner in call.inside)]
    starts = [*(inner.came for inner in call.inside), call.went]
    if call.inside and None not in starts and ends == starts:
        return [part for inner in call.inside for part in _inner(inner)]
    return [call]


def _state(value):
    """Identify a tensor and how often it has been changed in place; None for anything else."""
    return (id(value), value._version) if isinstance(value, torch.Tensor) else None
