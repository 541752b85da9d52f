"""What the page Help says about each state, reason, flag, decision and page of the panel."""
