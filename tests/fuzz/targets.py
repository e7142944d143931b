"""All targets: importing this fills `target.TARGETS`."""

import access_targets
import edge_targets
import form_targets
import media_targets
import output_targets

__all__ = ["access_targets", "edge_targets", "form_targets", "media_targets", "output_targets"]
