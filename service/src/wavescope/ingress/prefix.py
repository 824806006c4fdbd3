"""Path prefix of a gateway in front, such as ``/wavescope``: what stands before every path that a client knows.

As ASGI has it, ``root_path`` of a scope is the prefix, and ``path`` begins with it, whether the gateway takes it away
or passes it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from wavescope.settings.prefixes import clean_prefix

PREFIX_HEADER: Final = "X-Forwarded-Prefix"


@dataclass(frozen=True, slots=True)
class Prefix:
    """Rule by which a request's prefix is known.

    Attributes:
        root_path: of every request; empty where there is none.
        forwarded: whether ``X-Forwarded-Prefix`` is believed, which goes before.
    """

    root_path: str = ""
    forwarded: bool = False

    def apply(self, scope: Scope) -> None:
        """Set ``root_path`` of a request, and let its ``path`` begin with it."""
        root = self._find(scope) or self.root_path
        if not root or scope.get("root_path"):
            return
        path, raw = scope["path"], scope.get("raw_path")
        if not _begins_with(path, root):
            scope["path"] = root + path
            scope["raw_path"] = None if raw is None else root.encode("ascii") + raw
        elif path == root:
            scope["path"] = f"{root}/"
            scope["raw_path"] = None if raw is None else raw + b"/"
        scope["root_path"] = root

    def _find(self, scope: Scope) -> str:
        """The prefix that a gateway tells; several gateways each add their own, the outermost first."""
        if not self.forwarded:
            return ""
        parts = ",".join(Headers(scope=scope).getlist(PREFIX_HEADER)).split(",")
        return clean_prefix("".join(part.strip().rstrip("/") for part in parts)) or ""


def route_path(scope: Scope) -> str:
    """The path of a request behind its prefix."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path[len(root) :] or "/" if root and _begins_with(path, root) else path


def _begins_with(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
