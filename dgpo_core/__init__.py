"""Direct Group Preference Optimization: the words, the maths, the world and the loop."""
