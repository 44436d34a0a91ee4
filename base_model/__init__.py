"""How assets/shapes-sd3 was made: its pictures, its autoencoder, its transformer and its lying captions."""
