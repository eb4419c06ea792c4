"""What the operations tests share."""
