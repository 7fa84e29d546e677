"""Functions that take options as keywords: one signature for people, editors and mypy."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

P = ParamSpec("P")
First = TypeVar("First")
Second = TypeVar("Second")
OptionsT = TypeVar("OptionsT")
Result = TypeVar("Result")


def method_with_options(
    options: Callable[P, OptionsT],
) -> Callable[[Callable[[First, OptionsT], Result]], Callable[Concatenate[First, P], Result]]:
    """Let a method that takes an options object take its fields as keywords.

    Args:
        options: class of the options, or a function with its signature.
    """

    def decorate(method: Callable[[First, OptionsT], Result]) -> Any:
        return _spread(method, options, given=1)

    return decorate


def function_with_options(
    options: Callable[P, OptionsT],
) -> Callable[
    [Callable[[First, Second, OptionsT], Result]],
    Callable[Concatenate[First, Second, P], Result],
]:
    """The same for a function of two arguments and an options object.

    Args:
        options: class of the options, or a function with its signature.
    """

    def decorate(function: Callable[[First, Second, OptionsT], Result]) -> Any:
        return _spread(function, options, given=2)

    return decorate


def _spread(function: Callable[..., Any], options: Callable[..., Any], given: int) -> Any:
    made = inspect.unwrap(options)
    hints = get_type_hints(made)
    own = list(inspect.signature(function, eval_str=True).parameters.values())[:given]
    fields = [
        each.replace(annotation=hints.get(each.name, each.annotation))
        for each in inspect.signature(made).parameters.values()
    ]
    signature = inspect.Signature([*own, *fields])

    @functools.wraps(function)
    def spread(*args: Any, **kwargs: Any) -> Any:
        # Binding first: an unknown keyword is an error of this function, in Python's own words.
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__qualname__}() {error}") from None
        before = [bound.pop(each.name) for each in own]
        return function(*before, options(**bound))

    del spread.__wrapped__
    spread.__signature__ = signature  # type: ignore[attr-defined]
    types = {each.name: each.annotation for each in fields}
    spread.__annotations__ = {**function.__annotations__, **types}
    spread.__annotations__.pop("options", None)
    return spread
