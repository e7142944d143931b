"""How many engines a load needs: a formula, the figures that go into it, a table."""
