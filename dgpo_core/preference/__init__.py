"""A reward learned from labels: the head and its trust are maths, pictures to numbers and files are the world."""
