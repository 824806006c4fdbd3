"""The part of threadpoolctl that this repository uses; the package has no types of its own."""

from typing import TypedDict

class _Info(TypedDict):
    user_api: str
    internal_api: str
    num_threads: int

class OpenBLASController:
    @classmethod
    def clear_controlling_thread(cls, force: bool = False) -> None: ...

class Limiter:
    def restore_original_limits(self) -> None: ...

class ThreadpoolController:
    def __init__(self) -> None: ...
    def select(self, **attributes: str) -> ThreadpoolController: ...
    def limit(self, *, limits: int, user_api: str | None = None) -> Limiter: ...
    def info(self) -> list[_Info]: ...
