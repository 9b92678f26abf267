"""Address of the API server and our credentials: kubernetes-asyncio's loaders, in client-go's order."""

from __future__ import annotations

import os
from pathlib import Path

from swarm_operator.runtime import credentials
from swarm_operator.runtime.kubernetes_asyncio import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    SERVICE_TOKEN_FILENAME,
    ConfigNode,
    Configuration,
    ExecProvider,
    KubeConfigLoader,
    KubeConfigMerger,
    load_incluster_config,
)


async def load_config(kubeconfig: str | None = None) -> Configuration:
    """Load the connection settings.

    Order, as in controller-runtime's `config.GetConfig`: the given file, `$KUBECONFIG`, the pod's service account,
    `~/.kube/config`.

    Args:
        kubeconfig: path of a kubeconfig file; None for the order above.

    TokenSource that expire are renewed by the configuration's `refresh_api_key_hook`, see credentials.

    Raises:
        kubernetes_asyncio.config.ConfigException: no usable configuration was found; the message lists what was tried.
    """
    configuration = Configuration()
    # Python 3.13 refuses CAs without the extensions that RFC 5280 asks for. Clusters have them, and Go's clients do not
    # mind.
    configuration.disable_strict_ssl_verification = True
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=configuration, try_refresh_token=False)
        configuration.refresh_api_key_hook = credentials.of_token_file(Path(SERVICE_TOKEN_FILENAME))
        return configuration
    location = path or os.path.expanduser(KUBE_CONFIG_DEFAULT_LOCATION)  # noqa: ASYNC240, PTH111 - no file is touched
    files = KubeConfigMerger(location)
    # Paths are relative to the file that names them: config_base_path would be one for all.
    loader = KubeConfigLoader(files.config, config_base_path=None, config_persister=files.save_changes)
    await loader.load_and_set(configuration)
    configuration.refresh_api_key_hook = None if loader.provider else _token_source(loader, files.config)
    return configuration


def _token_source(loader: KubeConfigLoader, config: ConfigNode) -> credentials.TokenSource | None:
    """Return what keeps the credential valid that the loader has found; None if it does not expire."""
    name = loader.current_context["context"].get("user")
    found = config["users"].get_with_name(name, safe=True) if name and config.safe_get("users") else None
    user = found["user"] if found else None
    if user is None:
        return None
    if "exec" in user:
        # A certificate of the plugin is in the configuration already.
        current = credentials.Credential(
            getattr(loader, "token", None), expires_at=getattr(loader, "exec_plugin_expiry", None)
        )
        return credentials.of_plugin(ExecProvider(user["exec"]), current=current)
    if "tokenFile" in user and not user.safe_get("token"):
        return credentials.of_token_file(Path(user.path or "").parent / user["tokenFile"])
    return None
