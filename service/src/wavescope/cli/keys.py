"""``wavescope keys``: make API keys, and list those of a file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wavescope.cli.options import add_api_keys, build_settings
from wavescope.errors import InvalidRequest

if TYPE_CHECKING:
    from wavescope.cli.options import Commands

_QUOTAS = ("max_running", "max_waiting", "forwards_per_minute", "max_jobs")


def add_keys(commands: Commands) -> None:
    """Add ``wavescope keys`` to the commands."""
    parser = commands.add_parser(
        "keys", help="make API keys, and list those of a file", description="API keys of the service."
    )
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    new = actions.add_parser(
        "new",
        help="make a key",
        description="Makes a key: prints it, this once, and the entry for the keys file, which has its hash only.",
    )
    new.add_argument("name", metavar="NAME", help="name of the key's user: letters, digits, dots, dashes")
    new.set_defaults(run=_make_key)
    listed = actions.add_parser(
        "list",
        help="list names, priorities and quotas",
        description="Lists the keys of a file.",
        argument_default=argparse.SUPPRESS,
    )
    add_api_keys(listed)
    listed.set_defaults(run=_list_keys)


def _make_key(arguments: argparse.Namespace) -> None:
    from wavescope.auth.key_file import new_entry

    key, entry = new_entry(arguments.name)
    sys.stdout.write(
        f"{key}\n\nThe key is shown this once. Its entry, under 'keys:' of the keys file:\n\n{entry}"
    )


def _list_keys(arguments: argparse.Namespace) -> None:
    from wavescope.auth import load_keys

    path = build_settings(vars(arguments)).api_keys_file
    if path is None:
        raise InvalidRequest("name a file", field="api_keys_file")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "priority", *(name.replace("_", " ") for name in _QUOTAS)):
        table.add_column(column)
    for key in load_keys(path):
        quotas = [getattr(key.quota, name) for name in _QUOTAS]
        table.add_row(
            Text(key.name), key.priority, *("-" if quota is None else str(quota) for quota in quotas)
        )
    Console(highlight=False).print(table)
