"""The parts of kubernetes-asyncio that the runtime uses: configuration, credentials and HTTP requests.

Its packages import a class for each kind of the Kubernetes API: 850 modules, which take a second of the start and
33 MB. So these packages are registered here without their `__init__`, which runs when another name is imported. Import
the library through this module only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """Package whose `__init__` runs when a name is missing."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__path__ = spec.submodule_search_locations or []
        self.__file__ = spec.origin

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self.__class__ is not _Package:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment] # so that the names of __init__ are looked up once only
        assert self.__spec__ is not None  # noqa: S101 - for mypy
        assert self.__spec__.loader is not None  # noqa: S101 - for mypy
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _register_packages() -> None:
    library: Any = _register("kubernetes_asyncio")
    client: Any = _register("kubernetes_asyncio.client")
    library.client = client
    # Stand-in for the modules that kubernetes_asyncio.config imports.
    client.Configuration = importlib.import_module("kubernetes_asyncio.client.configuration").Configuration
    client.ApiClient = _api_client


def _register(name: str) -> _Package:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = sys.modules[name] = _Package(spec)
    return package


def _api_client(*args: Any, **kwargs: Any) -> Any:
    """Return kubernetes-asyncio's ApiClient, which its module `config` imports for functions that we never call."""
    from kubernetes_asyncio.client.api_client import ApiClient  # noqa: PLC0415

    return ApiClient(*args, **kwargs)


if "kubernetes_asyncio" not in sys.modules:
    _register_packages()

from kubernetes_asyncio.client.configuration import Configuration as Configuration
from kubernetes_asyncio.client.rest import RESTClientObject as RESTClientObject
from kubernetes_asyncio.config.config_exception import ConfigException as ConfigException
from kubernetes_asyncio.config.exec_provider import ExecProvider as ExecProvider
from kubernetes_asyncio.config.incluster_config import SERVICE_TOKEN_FILENAME as SERVICE_TOKEN_FILENAME
from kubernetes_asyncio.config.incluster_config import load_incluster_config as load_incluster_config
from kubernetes_asyncio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION as KUBE_CONFIG_DEFAULT_LOCATION
from kubernetes_asyncio.config.kube_config import ConfigNode as ConfigNode
from kubernetes_asyncio.config.kube_config import KubeConfigLoader as KubeConfigLoader
from kubernetes_asyncio.config.kube_config import KubeConfigMerger as KubeConfigMerger
