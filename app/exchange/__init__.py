"""Groups and labels out of the lab and into it, as folders that other programs read."""
