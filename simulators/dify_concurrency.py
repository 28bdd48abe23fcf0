"""How many questions the simulated Dify answers at a time, in all and of one user."""

from collections import Counter


class Concurrency:
    """Requests under way, in all and by user; a user above 1 at a time is an overlap."""

    def __init__(self) -> None:
        self.active = 0
        self.max_active = 0
        self.max_by_user: dict[str, int] = {}
        self.overlaps: list[str] = []
        self._by_user: Counter[str] = Counter()

    def enter(self, user: str) -> None:
        """A request begins."""
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        self._by_user[user] += 1
        now_of_user = self._by_user[user]
        self.max_by_user[user] = max(self.max_by_user.get(user, 0), now_of_user)
        if now_of_user > 1:
            self.overlaps.append(user)

    def leave(self, user: str) -> None:
        """It ended."""
        self.active -= 1
        self._by_user[user] -= 1
        if not self._by_user[user]:
            del self._by_user[user]
