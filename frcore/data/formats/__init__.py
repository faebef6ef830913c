"""Files in which others keep prepared clips: read as they are, without a conversion by hand."""
