"""controller-runtime for asyncio: client, reflector, informer, cache, work queue, controller, manager.

It knows no swarm and could be a library of its own. Objects are plain JSON dicts throughout; a reconciler parses
them into models where it wants types. The behaviours are those of Go's client-go and controller-runtime, and where
one is reproduced, the docstring names its source.
"""
