"""Annotated cases: the volumes of a patient with the experts' annotations, read from several data set layouts."""
