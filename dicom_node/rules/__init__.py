"""The site's own rules about its series."""
