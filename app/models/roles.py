"""What operators of the console may do."""

from enum import StrEnum


class OperatorRole(StrEnum):
    """What an operator may do; each may all that those before it may."""

    #: Looks.
    VIEWER = "viewer"
    #: Also changes groups, replays, clears.
    OPERATOR = "operator"
    #: Also reads the settings and the log.
    ADMIN = "admin"

    def includes(self, other: "OperatorRole") -> bool:
        """Whether this role may do what *other* may."""
        order = list(OperatorRole)
        return order.index(self) >= order.index(other)
