"""What brings the servers of this repository into operation. A program, not part of the installed package."""
