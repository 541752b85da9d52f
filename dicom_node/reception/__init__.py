"""What arrives: received, durable before the sender is thanked, and filed."""
