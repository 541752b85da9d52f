"""Delivers results to their destinations, until each destination has proved that it stored them."""
