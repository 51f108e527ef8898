"""`dotresize compress`, from its options to what it says at the end."""
