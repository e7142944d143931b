"""What runs inside the images beside the server."""
