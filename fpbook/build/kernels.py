"""The kernel that runs a chapter: of the Python that runs this, whatever else is installed."""

import importlib.util
import os
import shutil
import tempfile
import weakref
from typing import Any

import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager, KernelManager
from traitlets import default

from fpbook.build.forked import ForkedProvisioner, can_fork

# Whatever an editor wrote into the notebook.
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
LONGEST = 100  # characters of a socket's path, of which Unix takes 107


class OwnKernelSpecs(KernelSpecManager):
    """Kernels by name, of which `KERNEL` is always that of this Python.

    Jupyter's own search takes the first of this name from $JUPYTER_PATH or the user's folder, where
    it may be of another environment, or of one that is gone.
    """

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != KERNEL["name"]:
            return super().get_kernel_spec(kernel_name)
        if importlib.util.find_spec("ipykernel") is None:
            raise NoSuchKernel(kernel_name)
        from ipykernel.kernelspec import RESOURCES, get_kernel_dict

        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class SyncOwnKernel(KernelManager):
    """Starts a kernel of `OwnKernelSpecs`, and talks to it in a folder of its own.

    Not by port: Jupyter looks for free ones, and each of two kernels that start at once may find
    the same. Messages are encrypted, else each kernel would warn; not those of an older Jupyter,
    which cannot, and does not warn.
    """

    def start_kernel(self, **kw: Any) -> Any:
        """Start it: that of this Python as a fork, where there are any."""
        if can_fork() and self.kernel_name == KERNEL["name"]:
            self.provisioner = ForkedProvisioner(kernel_spec=self.kernel_spec, parent=self)
        return super().start_kernel(**kw)

    @default("kernel_spec_manager")
    def _own_kernel_specs(self) -> KernelSpecManager:
        return OwnKernelSpecs()

    @default("transport")
    def _by_file_if_possible(self) -> str:
        return "ipc" if can_fork() and len(tempfile.gettempdir()) < LONGEST - 30 else "tcp"

    @default("ip")
    def _ip_default(self) -> str:
        if self.transport != "ipc":
            return super()._ip_default()
        folder = tempfile.mkdtemp(prefix="kernel-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return os.path.join(folder, "socket")

    @default("transport_encryption")
    def _encrypted_if_possible(self) -> str:
        return "auto" if zmq.has("curve") else "disabled"


class OwnKernel(SyncOwnKernel, AsyncKernelManager):
    """The same, as Papermill drives it."""
