"""Third-party models: read without trust, converted, and run through the interface of our own networks."""
