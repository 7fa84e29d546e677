"""How the command line spells the options that an error names."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from typing import Any

from sing_monitor.commands.analysis_options import plain_options
from sing_monitor.errors import Option, SetupError

# Options of `sing-monitor analyze` that are not plain, with what stands for any value.
_TAKEN = {
    "analyses": "NAME",
    "each": "MODE",
    "prompt": "TEXT",
    "save_snapshots": "",
    "space": "SPACE",
}
# Those that name a file or a function here, whatever the value.
_FIXED = {
    "class_names": "--class-names FILE",
    "concepts": "--concepts FILE",
    "loader": "--data module:function",
    "probe": "--data module:function",
}


def spelled(error: BaseException) -> str:
    """The sentence of an error, with options as ``sing-monitor analyze`` takes them.

    For an option that it lacks, the sentence names the function that has it.

    Example::

        >>> spelled(SetupError("Name the head: ", Option("head", '"fc"'), "."))
        'Name the head: --head fc.'
        >>> spelled(SetupError("Give ", Option("pixel_stats", "(0.0, 1 / 255)"), "."))
        'Give --mean 0 --std 0.00392157.'
        >>> spelled(SetupError("Give ", Option("batch_adapter", "lambda b: Batch(*b)"), "."))
        'Give sing_monitor.analyze(..., batch_adapter=lambda b: Batch(*b)).'
    """
    return error.spelled(_spell) if isinstance(error, SetupError) else str(error)


def _spell(option: Option) -> str:
    name = option.name
    if name == "space" and option.value == "None":
        return "--space none"
    if name in _FIXED:
        return _FIXED[name]
    try:
        value: Any = _value(ast.parse(option.value, mode="eval").body)
    except (SyntaxError, ValueError):
        value = None
    if name == "pixel_stats":
        return _statistics(value)
    taken = _TAKEN | {each.name: each.shown for each in plain_options()}
    if name in taken:
        is_any = value is None or value is True or value in (Ellipsis, "...")
        texts = [taken[name]] if is_any else _texts(value)
        return " ".join([f"--{name.replace('_', '-')}", *filter(None, texts)])
    return f"sing_monitor.analyze(..., {option})"


def _statistics(value: Any) -> str:
    if not isinstance(value, Sequence) or len(value) != 2:
        return "--mean X --std X"
    mean, std = (" ".join(_texts(each)) for each in value)
    return f"--mean {mean} --std {std}"


def _texts(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    return [f"{value:.6g}" if isinstance(value, float) else shlex.quote(str(value))]


def _value(node: ast.expr) -> Any:
    """A literal, nan or inf, or a quotient of two, as statistics of 8-bit pixels are written."""
    if isinstance(node, ast.Name):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _value(node.left) / _value(node.right)
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_value(each) for each in node.elts]
    return ast.literal_eval(node)
