"""Variables that go to an app along with a question, made by the operator's templates. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from app.models.flow import Turn
from app.services.dify.wire import InputField


@dataclass(frozen=True, slots=True)
class InputTemplates:
    """Templates of ``str.format`` by the name of the variable; what they may name, see ``_facts``."""

    templates: Mapping[str, str]
    #: Of the operator, for ``{time}``.
    zone: ZoneInfo

    def fill(self, turn: Turn, fields: tuple[InputField, ...] | None) -> dict[str, str]:
        """
        The values for one question.

        Args:
            fields: what the app declares, for which alone there will be values, none of them too
                long; None: not known.
        """
        facts = _facts(turn, self.zone)
        values = {name: form.format_map(facts) for name, form in self.templates.items()}
        if fields is None:
            return values
        return {
            field.name: values[field.name][: field.max_length or None]
            for field in fields
            if field.name in values
        }

    def lacking(
        self, fields: tuple[InputField, ...] | None, *, question_key: str = ""
    ) -> tuple[str, ...]:
        """
        Names of required variables for which there is no template.

        Args:
            question_key: the one that takes the question itself; empty: none does.
        """
        given = {*self.templates, question_key}
        return tuple(
            field.name for field in fields or () if field.is_required and field.name not in given
        )


def _facts(turn: Turn, zone: ZoneInfo) -> dict[str, str]:
    """What templates may name; what is not known is empty."""
    received_at = turn.received_at
    return {
        "user_id": turn.user,
        "user_name": turn.user_name,
        "group_id": turn.group_id,
        "group_name": turn.group_name,
        "message_id": str(turn.message_id),
        "time": received_at.astimezone(zone).isoformat(" ", "seconds") if received_at else "",
        "bot_id": turn.bot_wc_id,
    }
