"""Recognition: which sequence a series shows, from its headers and its pixels, with the evidence."""
