"""What travels with a checkpoint: manifest, reference logits, card, and what each of them says."""
