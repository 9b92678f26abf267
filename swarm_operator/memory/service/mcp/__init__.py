"""Model Context Protocol server at `/mcp` for agent hosts, on the HTTP port and the same store.

endpoint       interface to `app`: loads the other modules if MCP is enabled; checks Origin, reads bodies
server         protocol server, based on the package `mcp`
sessions       counts and ends the sessions of clients; no module but these two imports that package
dispatcher     lists tools; finds a tool, validates its arguments, calls it, maps errors, counts calls
toolsets       names of groups of tools, of which a client selects some for the list
tool, schemas  definition of a tool, and building blocks of its schemas
tools/         tools by topic, and the toolsets; `classic` has the tools named as in claude-flow
budget         limits the size of responses to fit a model's context
resources      reads `memory://...`; `uris` parses and renders the URIs
subscriptions  notifies clients of changed resources, from the store's change feed
"""
