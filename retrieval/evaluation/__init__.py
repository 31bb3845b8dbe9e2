"""What a space reaches, by the metrics of the field."""
