"""The Model Context Protocol at `/mcp`: what agents' hosts speak, on the HTTP port, with the same store behind it.

endpoint       what app knows: loads the rest when it is switched on; Origin, bodies, starting and stopping
face           the protocol's server, by its own package `mcp`; nothing else but subscriptions imports that
toolbox        finds a tool, checks its arguments, calls it, answers errors, counts
tool, schemas  what a tool is, and the pieces of its schemas
tools/         the tools by topic; `classic` has claude-flow's names
answers        keeps answers small enough for a model
resources      `memory://...`; `uris` reads and writes their addresses
subscriptions  tells who wants to know what has changed, from the store's change feed
"""
