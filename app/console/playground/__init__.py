"""The playground: a simulated group in the browser, answered over the real way of a message."""

from app.console.playground.router import playground_router

__all__ = ["playground_router"]
