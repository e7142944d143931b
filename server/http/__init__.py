"""The edge: OpenAI's routes, forms and error bodies on Falcon."""
