"""Errors of engines."""


class EngineUnavailableError(RuntimeError):
    """An engine that this machine or this build cannot run; the message says what to do."""
