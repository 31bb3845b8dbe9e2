"""What training needs whatever the head: order of rows, optimisers and schedules, the loop."""
