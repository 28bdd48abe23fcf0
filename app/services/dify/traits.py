"""What is learnt of one app while it is asked: its kind, its release, and whether it has to be streamed."""

from collections.abc import Collection
from typing import Final

from loguru import logger

from app.services.dify.endpoints import Endpoint, endpoint_of_mode, endpoints_of
from app.services.dify.wire import AppParameters, InputField

#: Releases whose chatflows compute a blocking answer and drop it.
_BLOCKING_IS_BROKEN: Final = frozenset({"1.13.0", "1.13.1", "1.13.2"})


class AppTraits:
    """
    Begins with what the settings say; forgotten when the process ends.

    Args:
        name: of the app, for the log.
        kind: ``auto``, or the name of the only endpoint at which it may be asked.
    """

    def __init__(self, name: str, kind: str) -> None:
        self._name = name
        self._endpoints = endpoints_of(kind)
        self._endpoint = self._endpoints[0]
        self._must_stream = False
        #: As ``/info`` says it; empty: it does not.
        self.mode = ""
        self.release = ""
        #: What ``/parameters`` say; None: not known.
        self.parameters: AppParameters | None = None

    @property
    def fields(self) -> tuple[InputField, ...] | None:
        """The variables that it declares; None: not known."""
        return None if self.parameters is None else self.parameters.inputs

    @property
    def endpoint(self) -> Endpoint:
        """Where it is asked, as far as is known."""
        return self._endpoint

    @property
    def must_stream(self) -> bool:
        """Blocking calls are known to fail here."""
        return self._must_stream

    def question_key(self, wanted: str) -> str:
        """
        The variable that takes the question.

        Args:
            wanted: by the settings; another one only if the app declares no such variable, and it is
                clear which one is meant: the only one, or the only required one.
        """
        fields = self.fields or ()
        if any(field.name == wanted for field in fields):
            return wanted
        required = [field.name for field in fields if field.is_required]
        for names in ([field.name for field in fields], required):
            if len(names) == 1:
                return names[0]
        return wanted

    def learn_mode(self, mode: str, release: str) -> None:
        """It says what it is; empty: it does not say."""
        self.mode, self.release = mode, release
        is_broken_chatflow = mode == "advanced-chat" and release in _BLOCKING_IS_BROKEN
        if mode == "agent-chat" or is_broken_chatflow:
            self.learn_to_stream(f"{mode} {release}")
        endpoint = endpoint_of_mode(mode)
        if endpoint in self._endpoints:
            self._move_to(endpoint)

    def learn_to_stream(self, reason: str) -> None:
        """A blocking call was refused, or would be."""
        if not self._must_stream:
            self._must_stream = True
            logger.bind(app=self._name, reason=reason).info("dify.streams_instead")

    def other_than(self, refused: Collection[Endpoint]) -> bool:
        """Whether there is another endpoint to try than those that refused it; then it is in force."""
        if self._endpoint not in refused:
            return True
        other = next((one for one in self._endpoints if one not in refused), None)
        # None fits: the next question begins anew, for the app may have been replaced.
        self._move_to(other or self._endpoints[0])
        return other is not None

    def _move_to(self, endpoint: Endpoint) -> None:
        if endpoint is not self._endpoint:
            self._endpoint = endpoint
            logger.bind(app=self._name, endpoint=endpoint.path).info("dify.kind_learnt")
