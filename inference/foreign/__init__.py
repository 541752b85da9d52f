"""Models from elsewhere: read without trust, converted, and run behind the face of our own networks."""
