"""Private attributes of torch that finding and reading a head needs: used in this file alone.

``getattr``, ``named_children`` and ``get_submodule`` are no substitute. They follow properties,
evaluate parametrizations (which moves the buffers of ``spectral_norm``), leave out a module that
stands under two names, and are forwarded by ``torch.compile`` to the module inside.
"""

from __future__ import annotations

import sys

from torch import Tensor, nn

# The name under which `torch.compile` holds the module that it wraps. Torch has no public one, and
# the names in checkpoints of compiled models contain it.
COMPILED_NAME = "_orig_mod"


def registered_child(module: nn.Module, name: str) -> nn.Module | None:
    """The child that a module registered under a name; None if there is none."""
    return module._modules.get(name)


def registered_parameter(module: nn.Module, name: str) -> Tensor | None:
    """The parameter that a module registered under a name; None if it is missing or computed."""
    return module._parameters.get(name)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module whose forward runs: the one inside a ``torch.compile`` wrapper."""
    # Those of a scripted module are no dict.
    modules = module._modules
    return modules[COMPILED_NAME] or module if COMPILED_NAME in modules else module


def is_compiled(model: nn.Module) -> bool:
    """Whether ``torch.compile`` traces a model or a part of it."""
    return getattr(model, "_compiler_ctx", None) is not None or any(
        map(is_compiled_itself, model.modules())
    )


def is_compiled_itself(module: nn.Module) -> bool:
    """Whether ``torch.compile`` traces a call of this very module, and so all that is inside."""
    return is_compiled_wrapper(module) or is_compiled_in_place(module)


def is_compiled_wrapper(module: nn.Module) -> bool:
    """Whether ``torch.compile`` has returned this module."""
    return COMPILED_NAME in module._modules


def is_compiled_in_place(module: nn.Module) -> bool:
    """Whether ``module.compile()`` was called."""
    return module._compiled_call_impl is not None


def is_dynamo_loaded() -> bool:
    """Whether a part of this process may be compiled; importing dynamo to ask takes seconds."""
    return "torch._dynamo" in sys.modules
