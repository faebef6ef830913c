"""NTU RGB+D 60 and 120: names, raw files, the preprocessing of the field."""
