"""One space: the move that brings one volume onto another, proved or refused."""
