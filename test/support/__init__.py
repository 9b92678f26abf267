"""Support that several tests share."""
