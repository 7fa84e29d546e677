"""The commands of ``sing-monitor``, a module each.

A command's module is named after it and has two functions: ``add_parser(subparsers)`` says what the
command takes, ``run(arguments)`` does it and returns the exit code. `sing_monitor.commands.cli`
lists the modules.
"""
