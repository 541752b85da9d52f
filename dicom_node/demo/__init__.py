"""Makes the demonstration study: real brain anatomy, an implanted tumour of known size, four MR series."""
