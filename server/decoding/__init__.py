"""Everything between token ids and text that all engines share."""
