"""Training of the shipped weights: data sets, augmentation, losses and the training loop."""
