"""A plugin for pytest: nbval replays chapters in the kernels that execute them."""

from typing import Any

import nbval.kernel

from fpbook.build.kernels import SyncOwnKernel


def pytest_configure() -> None:
    """Give nbval our kernels: its own find their ports as Jupyter does."""
    nbval.kernel.KernelManager = _replaying


def _replaying(**_: Any) -> SyncOwnKernel:
    """The kernel of this Python, whatever name nbval has for it."""
    return SyncOwnKernel()
