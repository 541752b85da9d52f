"""Getting a node to work beside what a hospital has."""
