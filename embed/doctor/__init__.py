"""What limits a run on one's own data and machine."""
