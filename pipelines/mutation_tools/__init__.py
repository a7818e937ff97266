"""What the changes of the code are made and run with."""
