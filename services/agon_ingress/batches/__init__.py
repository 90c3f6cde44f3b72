"""`/v1/batches`: many requests at once, with what the models have to spare."""
