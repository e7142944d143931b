"""The server's figures for Prometheus: it knows the server, and the server does not know it."""
