"""The demonstration study, made by code: true brain anatomy, an implanted tumour of known size, four MR series."""
