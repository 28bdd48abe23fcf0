"""The first page: how the bridge is right now."""

from starlette.responses import Response

from app.console.visit import Visit
from app.services.stages import utc_now


async def show_overview(visit: Visit) -> Response:
    """Figures of this moment."""
    figures = await visit.parts.live.look()
    template = "overview_part.html" if visit.is_fragment else "overview.html"
    return visit.page(template, figures=figures, oldest=figures.oldest_age(utc_now()))
