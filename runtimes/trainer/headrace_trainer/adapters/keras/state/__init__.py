"""What a checkpoint holds of a training, and putting it back."""
