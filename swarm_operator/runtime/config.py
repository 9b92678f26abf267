"""Where the API server is and who we are: kubernetes-asyncio's loaders, in client-go's order."""

from __future__ import annotations

import os

from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import KUBE_CONFIG_DEFAULT_LOCATION, load_incluster_config, load_kube_config


async def load_config(kubeconfig: str | None = None, context: str | None = None) -> Configuration:
    """Load the connection settings.

    Order, as in controller-runtime's `config.GetConfig`: the given file, `$KUBECONFIG`, the pod's service account,
    `~/.kube/config`.

    Args:
        kubeconfig: path of a kubeconfig file; None for the order above.
        context: context to use; None for the file's current one.

    Raises:
        kubernetes_asyncio.config.ConfigException: nothing usable was found; the message says what was tried.
    """
    configuration = Configuration()
    # Python 3.13 refuses CAs without the extensions that RFC 5280 asks for. Clusters have them, and Go's clients do not
    # mind.
    configuration.disable_strict_ssl_verification = True
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=configuration)
        return configuration
    location = path or os.path.expanduser(KUBE_CONFIG_DEFAULT_LOCATION)  # noqa: ASYNC240, PTH111 - no file is touched
    await load_kube_config(config_file=location, context=context, client_configuration=configuration)
    return configuration
