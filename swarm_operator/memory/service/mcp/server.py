"""MCP server based on the package `mcp`: supports the protocol with and without sessions, over streamable HTTP.

Clients of protocol version 2025-11-25 and before have a session: `initialize` opens it, DELETE or idleness ends it.
Clients of version 2026-07-28 send independent requests; a request with a streamed response subscribes to changes.
Other responses are plain JSON, without progress notifications.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import mcp_types as types
import orjson
import structlog
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from starlette.types import Receive, Scope, Send

import swarm_operator
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.rights import AuthorizedStore, Credential
from swarm_operator.memory.service.errors import RequestError
from swarm_operator.memory.service.mcp import uris
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.mcp.dispatcher import ToolDispatcher, UnknownToolError, error_document, listed
from swarm_operator.memory.service.mcp.resources import TEMPLATES, Resources, target
from swarm_operator.memory.service.mcp.sessions import Sessions
from swarm_operator.memory.service.mcp.subscriptions import Listener, Subscriptions
from swarm_operator.memory.service.mcp.tool import Tool
from swarm_operator.memory.service.mcp.tools import TOOLS
from swarm_operator.memory.service.mcp.toolsets import SCOPE_KEY
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import McpMetrics, ServiceMetrics

_INSTRUCTIONS: Final = """\
The shared, durable memory of a swarm of agents. An acknowledged write is on disk.
To find something, use memory_search or memory_list, which return keys and snippets; then get the value with
memory_retrieve. Long answers are cut; next_cursor, next_offset and cut say how to get the rest. Errors name what is
allowed; retry says whether the same call may succeed later. To change an entry that others may change too, give
if_version with the version that you have read. Agents share work with task_create and task_claim_next and talk with
message_send and message_read. Further tools (tasks, agents, patterns, consensus) are listed if the server's URL has
?toolsets=all, which the user can add."""
_CREDENTIAL: Final = "swarm_memory.credential"

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def run_server(
    store: Store, *, peers: Peers, metrics: ServiceMetrics, settings: ServiceSettings, quotas: Quotas
) -> AsyncIterator[McpServer]:
    """Run an MCP server inside this context. On exit all sessions end."""
    # The package logs session IDs, which are part of a client's credentials.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    server = McpServer(store, peers=peers, metrics=metrics, settings=settings, quotas=quotas)
    async with server.manager.run():
        try:
            yield server
        finally:
            server.end_streams()
            await server.sessions.stop()


class McpServer:
    """MCP server of one store.

    Attributes:
        manager: session manager of the package `mcp`.
        sessions: sessions of the clients.
    """

    def __init__(
        self, store: Store, *, peers: Peers, metrics: ServiceMetrics, settings: ServiceSettings, quotas: Quotas
    ) -> None:
        counted = McpMetrics(metrics.registry, [tool.name for tool in TOOLS])
        self._store = store
        self._budget = Budget(settings.mcp_max_answer_bytes)
        self._tools = ToolDispatcher(
            store,
            peers=peers,
            metrics=metrics,
            mcp_metrics=counted,
            budget=self._budget,
            restores=quotas.restores,
            data_dir=settings.data_dir,
        )
        self._subscriptions = Subscriptions(store, quota=quotas.listeners)
        counted.subscribers.set_function(lambda: quotas.listeners.held)
        self._metrics = metrics
        self._described = {tool.name: _described(tool) for tool in TOOLS}
        self._listeners: dict[str, Listener] = {}
        self._sending: set[asyncio.Task[None]] = set()
        server: Server[dict[str, Any]] = Server(
            "swarm-memory",
            version=swarm_operator.__version__,
            instructions=_INSTRUCTIONS,
            get_tool_input_schema=self._tools.input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_subscriptions_listen=self._listen,
        )
        server.middleware.clear()  # removes tracing, which has no exporter here
        self.manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            session_idle_timeout=None,  # `sessions` ends and counts them
            max_sessions=None,
            max_request_body_size=settings.max_body_bytes,
        )
        self.sessions = Sessions(self.manager.handle_request, quota=quotas.sessions, idle=settings.mcp_idle)

    async def handle(self, credential: Credential, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Handle a request. A session belongs to the holder of the token that opened the session.

        Args:
            credential: credential of the caller.
            scope: ASGI scope.
            body: the complete body, which `receive` returns, too.
            receive: ASGI receive function.
            send: ASGI send function.
        """
        user = AuthenticatedUser(AccessToken(token="", client_id=credential.principal.name, scopes=[]))
        held = {**scope, "user": user, _CREDENTIAL: credential}
        await self.sessions.serve(credential, held, body, receive, send)

    def _resources(self, context: ServerRequestContext[Any]) -> Resources:
        store = AuthorizedStore(self._store, _credential(context))
        return Resources(store, metrics=self._metrics, budget=self._budget)

    def end_streams(self) -> None:
        """End the streams of subscriptions, which are endless otherwise."""
        self._subscriptions.end()

    async def _list_tools(self, context: ServerRequestContext[Any], _: types.PaginatedRequestParams | None) -> Any:
        """Return the tools of the chosen toolsets that the caller's permissions suffice for."""
        assert context.request is not None  # noqa: S101 - for mypy: HTTP is the only transport
        tools = listed(context.request.scope[SCOPE_KEY], _credential(context).principal)
        return types.ListToolsResult(tools=[self._described[tool.name] for tool in tools])

    async def _call_tool(self, context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> Any:
        """Call a tool, listed or not. The result is text only: with structured content it would be sent twice."""
        try:
            answer = await self._tools.call(params.name, params.arguments, _credential(context))
        except UnknownToolError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return types.CallToolResult(content=[types.TextContent(text=answer.text)], is_error=answer.failed)

    async def _list_resources(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> Any:
        cursor = params.cursor if params is not None else None
        with self._protocol_errors():
            counts, following = await self._resources(context).page(cursor)
        first = [] if cursor is not None else [
            types.Resource(
                uri=uris.NAMESPACES, name="namespaces", description="All namespaces.", mime_type="application/json"
            )
        ]  # fmt: skip
        return types.ListResourcesResult(
            resources=first
            + [
                types.Resource(
                    uri=uris.render(count.namespace),
                    name=count.namespace,
                    description=f"{count.entries} entries, {count.bytes} bytes",
                    mime_type="application/json",
                )
                for count in counts
            ],
            next_cursor=following,
        )

    async def _list_templates(self, _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None) -> Any:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=template, name=name, description=description, mime_type="application/json"
                )
                for template, name, description in TEMPLATES
            ]
        )

    async def _read_resource(self, context: ServerRequestContext[Any], params: types.ReadResourceRequestParams) -> Any:
        with self._protocol_errors():
            document = await self._resources(context).read(params.uri)
        text = orjson.dumps(document).decode()
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)]
        )

    async def _subscribe(self, context: ServerRequestContext[Any], params: types.SubscribeRequestParams) -> Any:
        session = _session_id(context)
        with self._protocol_errors():
            _credential(context).principal.check_read(target(params.uri)[0])
            listener = self._listeners.get(session)
            if listener is None:
                listener = self._listeners[session] = self._subscriptions.open(_credential(context))
                sending = asyncio.create_task(self._send_updates(session, listener, context), name="memory-mcp-tell")
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
                # The package has no public hook for the end of a request's session.
                connection = context.session._connection  # noqa: SLF001
                connection.exit_stack.callback(self._forget, session, listener, sending)
            listener.add(params.uri)
        return types.EmptyResult()

    async def _unsubscribe(self, context: ServerRequestContext[Any], params: types.UnsubscribeRequestParams) -> Any:
        listener = self._listeners.get(_session_id(context))
        if listener is not None:
            listener.remove(params.uri)
        return types.EmptyResult()

    async def _send_updates(self, session: str, listener: Listener, context: ServerRequestContext[Any]) -> None:
        """Send a session's resource updates on its stream. End the session once its token's rights have changed."""
        while changed := await listener.next():
            for uri in changed:
                await context.session.send_resource_updated(uri)
        if listener.revoked:
            self.sessions.end(session)

    def _forget(self, session: str, listener: Listener, sending: asyncio.Task[None]) -> None:
        self._listeners.pop(session, None)
        self._subscriptions.close(listener)
        sending.cancel()

    async def _listen(
        self, context: ServerRequestContext[Any], params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Send resource updates on the response stream until the client disconnects or the service stops."""
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        wanted = params.notifications.resource_subscriptions or []
        with self._protocol_errors(), self._subscriptions.listening(_credential(context)) as listener:
            for uri in wanted:
                _credential(context).principal.check_read(target(uri)[0])
                listener.add(uri)
            await context.session.send_notification(
                types.SubscriptionsAcknowledgedNotification(
                    params=types.SubscriptionsAcknowledgedNotificationParams(
                        notifications=types.SubscriptionFilter(resource_subscriptions=listener.addresses or None),
                        _meta=meta,
                    )
                ),
                related_request_id=context.request_id,
            )
            while changed := await listener.next():
                for uri in changed:
                    await context.session.send_notification(
                        types.ResourceUpdatedNotification(
                            params=types.ResourceUpdatedNotificationParams(uri=uri, _meta=meta)
                        ),
                        related_request_id=context.request_id,
                    )
        return types.SubscriptionsListenResult(_meta=meta)

    @contextlib.contextmanager
    def _protocol_errors(self) -> Any:
        """Raise errors of resources as protocol errors, with the service's error document as data."""
        try:
            yield
        except (MemoryStoreError, RequestError) as error:
            problem = describe(error)
            self._metrics.refused(problem.code)
            if problem.status == 500:
                _log.error("resource failed", exc_info=error)
            document = error_document(problem)
            code = types.INVALID_PARAMS if problem.status in {400, 403, 404} else types.INTERNAL_ERROR
            raise MCPError(code, document["message"], document) from None


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=False,
        ),
    )


def _credential(context: ServerRequestContext[Any]) -> Credential:
    """Return the caller's current credential. Its permissions may have changed since the session was opened."""
    assert context.request is not None  # noqa: S101 - for mypy: HTTP is the only transport
    credential: Credential = context.request.scope[_CREDENTIAL]
    return credential


def _session_id(context: ServerRequestContext[Any]) -> str:
    session: str = context.request.headers["mcp-session-id"] if context.request is not None else ""
    return session
