"""What is loaded of kubernetes-asyncio, each in a process of its own: an import can't be taken back."""

import subprocess
import sys


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


class TestPackages:
    def test_the_operator_loads_no_generated_class(self):
        """The API's classes would take a third of an idle operator's memory."""
        loaded = run(
            "import sys, swarm_operator.cmd.manager\n"
            "print(*(name for name in sys.modules if name.startswith('kubernetes_asyncio')))"
        ).split()
        assert "kubernetes_asyncio.client.rest" in loaded
        assert not [name for name in loaded if name.startswith(("kubernetes_asyncio.client.api",))]
        assert not [name for name in loaded if name.startswith("kubernetes_asyncio.client.models")]

    def test_a_class_is_loaded_when_somebody_asks_for_it(self):
        printed = run(
            "import swarm_operator.runtime.kubernetes_asyncio, kubernetes_asyncio\n"
            "from kubernetes_asyncio.client import ApiClient, CoreV1Api\n"
            "print(CoreV1Api.__name__, ApiClient.__name__, kubernetes_asyncio.watch.Watch.__name__)"
        )
        assert printed == "CoreV1Api ApiClient Watch"

    def test_an_unknown_name_is_an_attribute_error(self):
        printed = run(
            "import swarm_operator.runtime.kubernetes_asyncio, kubernetes_asyncio.client\n"
            "print(hasattr(kubernetes_asyncio.client, 'NoSuchApi'), hasattr(kubernetes_asyncio, '__wrapped__'))"
        )
        assert printed == "False False"

    def test_a_library_that_is_loaded_already_stays_as_it_is(self):
        printed = run(
            "import kubernetes_asyncio.client as before\n"
            "import swarm_operator.runtime.kubernetes_asyncio, kubernetes_asyncio\n"
            "print(kubernetes_asyncio.client is before, type(before).__name__)"
        )
        assert printed == "True module"
