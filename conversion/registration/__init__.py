"""Registration: the transform that aligns one volume with another, verified or refused."""
