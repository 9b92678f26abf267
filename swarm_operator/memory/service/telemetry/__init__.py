"""Telemetry: metrics and trace context."""
