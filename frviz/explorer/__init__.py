"""The explorer: linked views of what one model or two confuse, in a notebook or one HTML file."""
