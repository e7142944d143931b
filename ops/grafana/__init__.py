"""The dashboard for Grafana: its panels as Python, and the JSON that Grafana imports."""
