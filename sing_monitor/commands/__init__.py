"""Commands of ``sing-monitor``, one module for each.

The module of a command has its name and two functions: ``add_parser(subparsers)`` defines the
arguments, ``run(arguments)`` runs the command and returns the exit code.
`sing_monitor.commands.cli` lists the modules.
"""
