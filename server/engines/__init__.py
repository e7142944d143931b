"""The CPU and GPU engines behind one interface; see `base.py`."""
