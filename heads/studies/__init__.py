"""Many trainings, to learn from: folds, seeds, searches, and the table of what came out."""
