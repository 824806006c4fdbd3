"""YAML files of the settings, read strictly."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, where YAML silently keeps the last.

    What is no value of the type that it has, such as ``2024-02-31`` or ``!!bool maybe``, is an error with its
    place.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """See PyYAML."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:80]!r} is no {kind}", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """See PyYAML."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen: set[Hashable] = set()
        for key in keys:
            if isinstance(key, Hashable):  # PyYAML refuses the others
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)
