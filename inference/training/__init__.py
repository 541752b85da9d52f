"""How the shipped weights were made: data sets, augmentation, losses and the training loop."""
