"""From volumes to findings. The only package that uses torch."""
