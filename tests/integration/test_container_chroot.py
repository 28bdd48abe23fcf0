"""The image's entry point runs as the image's user on a read-only root."""

from pathlib import Path

import pytest

from tests.integration import container_chroot


@pytest.mark.timeout(300)
def test_image_content_alone_serves_as_its_user_on_a_read_only_root(tmp_path: Path) -> None:
    """Migrate, start, 200, healthy, SIGTERM; details in container_chroot.py."""
    reason = container_chroot.why_not()
    if reason:
        pytest.skip(reason)

    seen = container_chroot.check(tmp_path / "root")

    assert "healthcheck 0" in seen
