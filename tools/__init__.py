"""Build, test and run this project on a bare machine. Nothing of this is part of the image."""
