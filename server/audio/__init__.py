"""From a file of bytes to log-mel windows."""
