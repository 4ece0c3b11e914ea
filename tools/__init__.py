"""What building, testing and running this project on a bare machine needs; never part of the image."""
