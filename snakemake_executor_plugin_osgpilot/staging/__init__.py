"""What a rule job becomes: a folder of files that travels to the execution point and back."""
