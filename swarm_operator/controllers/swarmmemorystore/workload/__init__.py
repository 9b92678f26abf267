"""The pod that serves a store: its StatefulSet and its state."""
