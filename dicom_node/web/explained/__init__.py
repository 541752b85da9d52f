"""What the page Help says about each state, reason, flag and decision."""
